//! Groups: strategies, intensity, order, dependencies, significance. DESIGN 5; FIELD group D; OTP's and suture's own
//! cases.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod order;
mod rules;
mod strategies;

use janus_supervisor::{
    Group, GroupHandle, Intensity, JanusSupervisor, ServiceLifecycleSnapshot, ServicePhase,
    Strategy, TerminationReason,
};
use janus_tests::{Recorder, Script, Turn, config, ms, secs, settle, within_an_hour};
use std::sync::Arc;
use std::time::Instant;

/// A supervisor, and what happened in it since it was made.
struct Scene {
    supervisor: JanusSupervisor,
    recorder: Arc<Recorder>,
    t0: Instant,
}

impl Scene {
    fn new() -> Self {
        let recorder = Arc::<Recorder>::default();
        Self {
            supervisor: JanusSupervisor::new(config(&recorder)),
            recorder,
            t0: tokio::time::Instant::now().into_std(),
        }
    }

    fn spawn(&self, group: Group) -> GroupHandle {
        self.supervisor.spawn_group(group).unwrap()
    }

    fn snapshot(&self, name: &str) -> ServiceLifecycleSnapshot {
        self.supervisor.service(name).unwrap().snapshot()
    }

    fn phases(&self) -> Vec<(String, ServicePhase, u32)> {
        let services = self.supervisor.snapshot().services.into_iter();
        services
            .map(|it| (it.service_name, it.phase, it.start_count))
            .collect()
    }
}

fn steady(name: &str) -> Script {
    Script::new(name, [])
}

/// A service that runs until it is told to stop, and takes so many milliseconds for that.
fn slow(name: &str, millis: u64) -> Script {
    let turn = Turn::Complete.after(ms(millis)).when_cancelled();
    Script::new(name, [turn])
}
