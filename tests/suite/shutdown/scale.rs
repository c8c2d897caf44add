//! Many services at once: every one is terminated and counted.

use janus_supervisor::{JanusSupervisor, ServicePhase};
use janus_tests::{Recorder, Script, Turn, config, secs, settle};
use std::sync::Arc;

/// Services that stop at once, that take 1 to 9 s, and that do not stop; one of ten each.
fn script(i: usize) -> Script {
    let turn = match i % 10 {
        0 => Turn::Hang,
        1 => Turn::Fail("sorry").when_cancelled(),
        n @ 2..5 => Turn::Complete.after(secs(n as u64)).when_cancelled(),
        _ => Turn::until_cancelled(),
    };
    Script::new(format!("service-{i}"), [turn])
}

async fn drain_of(n: usize) {
    // Without an observer: 100,000 services tell too much to keep.
    let mut config = config(&Arc::new(Recorder::default())).with_shutdown_timeout(secs(20));
    config.observers.clear();
    let supervisor = JanusSupervisor::new(config);
    for i in 0..n {
        let spawned = supervisor.spawn_service(script(i));
        assert!(spawned.is_ok());
    }
    settle().await;
    assert_eq!(supervisor.metrics().snapshot().active_services, n as u64);
    supervisor.trigger_shutdown();
    let report = supervisor.wait_for_drain().await;

    let stubborn = n.div_ceil(10);
    assert_eq!(report.aborted.len(), stubborn);
    assert_eq!(report.aborted[1], "service-10", "in the order of spawning");
    assert_eq!(
        (report.drained, report.stuck.len(), report.took),
        (n - stubborn, 0, secs(20))
    );
    let snapshot = supervisor.snapshot();
    assert_eq!(snapshot.services.len(), n);
    for service in snapshot.services {
        assert_eq!(service.phase, ServicePhase::Terminated);
    }
    let metrics = snapshot.metrics;
    assert_eq!(
        (
            metrics.spawned_total,
            metrics.terminated_total,
            metrics.active_services
        ),
        (n as u64, n as u64, 0)
    );
    let alive = tokio::runtime::Handle::current()
        .metrics()
        .num_alive_tasks();
    assert_eq!(alive, 0);
    assert_eq!(supervisor.remove_terminated(), n);
}

/// F77
#[tokio::test(start_paused = true)]
async fn a_drain_of_500_services_ends_them_all() {
    drain_of(500).await;
}

/// F77
#[tokio::test(start_paused = true)]
async fn a_drain_of_2048_services_ends_them_all() {
    drain_of(2048).await;
}

/// F77
#[tokio::test(start_paused = true)]
async fn a_drain_of_100_000_services_ends_them_all() {
    drain_of(100_000).await;
}
