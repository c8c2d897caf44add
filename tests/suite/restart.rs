//! Restart policy x how the run ended.

use janus_supervisor::{JanusSupervisor, RestartPolicy, ServicePhase, SpawnOptions};
use janus_tests::{Recorder, Script, Turn, config};
use std::sync::Arc;

/// A sketch of how these tests look; replace freely.
#[tokio::test(start_paused = true)]
async fn a_failure_is_retried_after_the_base_delay() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    let t0 = tokio::time::Instant::now().into_std();
    let script = Script::new("feed", [Turn::Fail("no route"), Turn::Complete])
        .policy(RestartPolicy::OnFailure);
    let handle = supervisor
        .spawn_service_with_options(script, SpawnOptions::default())
        .unwrap();
    handle.terminated().await;
    assert_eq!(handle.phase(), ServicePhase::Terminated);
    assert_eq!(
        recorder.trace_of("feed", t0),
        [
            "0 run 1 registered",
            "0 run 1 running",
            "0 run 1 failed (error): no route",
            "0 run 1 backing off #1 for 100ms",
            "100 run 2 restarting",
            "100 run 2 running",
            "100 run 2 completed",
            "100 run 2 terminated: completed",
        ]
    );
}
