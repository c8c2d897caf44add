//! Janus, with its backoff and its breaker, which never opens.

use bench_harness::{Contender, Fleet, Lister, Work};
use janus_supervisor::{BackoffConfig, JanusSupervisor, SupervisorConfig, service_fn};
use std::process::ExitCode;
use std::time::Duration;

struct Janus;

impl Contender for Janus {
    type Fleet = Supervisor;

    async fn start<W: Work>(services: Vec<(String, W)>) -> Supervisor {
        // No delay, and a breaker that counts all the time: no run is so short that a hundred fit into a microsecond.
        let backoff = BackoffConfig::new(Duration::ZERO, Duration::ZERO)
            .with_circuit_breaker(100, Duration::from_micros(1));
        let config = SupervisorConfig::default()
            .with_default_backoff(backoff)
            .without_signal_handler();
        let supervisor = JanusSupervisor::new(config);
        for (name, work) in services {
            let service = service_fn(name, move |cancel| {
                let work = work.clone();
                async move { Ok(work.run(cancel.cancelled()).await?) }
            });
            let spawned = supervisor.spawn_service(service);
            drop(spawned.expect("the names are all different"));
        }
        Supervisor(supervisor)
    }
}

struct Supervisor(JanusSupervisor);

impl Fleet for Supervisor {
    type Lister = Reader;

    fn lister(&self) -> Option<Reader> {
        Some(Reader(self.0.clone()))
    }

    async fn shutdown(self) {
        self.0.trigger_shutdown();
        let report = self.0.wait_for_drain().await;
        assert_eq!(report.exit_code(), 0, "{report}");
    }
}

struct Reader(JanusSupervisor);

impl Lister for Reader {
    fn list(&self) -> usize {
        self.0.snapshot().services.len()
    }
}

fn main() -> ExitCode {
    bench_harness::main::<Janus>()
}
