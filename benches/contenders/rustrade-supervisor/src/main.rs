//! rustrade-supervisor: a task for each service, and a map of what they do behind a lock. No delay, and no breaker; its
//! log goes nowhere.

use bench_harness::{Contender, Fleet, Lister, Work, Workload};
use rustrade_supervisor::{BackoffConfig, Supervisor, SupervisorConfig, TradingService};
use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

struct Rustrade;

struct Service<W> {
    name: String,
    work: W,
}

#[async_trait::async_trait]
impl<W: Work> TradingService for Service<W> {
    fn name(&self) -> &str {
        &self.name
    }

    async fn run(&self, cancel: CancellationToken) -> anyhow::Result<()> {
        Ok(self.work.run(cancel.cancelled()).await?)
    }
}

impl Contender for Rustrade {
    type Fleet = Services;

    fn cannot(workload: Workload) -> Option<&'static str> {
        // The task of the service ends with it, and the list says for ever that it runs.
        (workload == Workload::Panics).then_some("restart after a panic")
    }

    fn note(workload: Workload) -> Option<&'static str> {
        (workload != Workload::Idle)
            .then_some("sleeps for a tick of the timer (1 ms) before each restart")
    }

    // It sleeps without a delay, too, and the timer rounds up: it starts a service a thousand times a second, and no
    // more.
    const SLOWER: u32 = 25;

    async fn start<W: Work>(services: Vec<(String, W)>) -> Services {
        let backoff = BackoffConfig::new(Duration::ZERO, Duration::ZERO)
            .without_circuit_breaker()
            // Every run counts as a good one. Without a breaker it keeps the time of every failure until there is one
            // that does.
            .with_cooldown(Duration::ZERO);
        let config = SupervisorConfig::default()
            .with_default_backoff(backoff)
            .without_signal_handler();
        let supervisor = Supervisor::new(config);
        for (name, work) in services {
            supervisor.spawn_service(Box::new(Service { name, work }));
        }
        Services {
            supervisor: Arc::new(supervisor),
            runtime: Handle::current(),
        }
    }
}

#[derive(Clone)]
struct Services {
    supervisor: Arc<Supervisor>,
    runtime: Handle,
}

impl Fleet for Services {
    type Lister = Self;

    fn lister(&self) -> Option<Self> {
        Some(self.clone())
    }

    async fn shutdown(self) {
        self.supervisor.trigger_shutdown();
        self.supervisor.wait_for_drain().await;
        // It does not say whether it gave up.
        let left = self.supervisor.metrics().snapshot().active_services;
        assert_eq!(left, 0, "not all have ended");
    }
}

impl Lister for Services {
    fn list(&self) -> usize {
        let snapshots = self.runtime.block_on(self.supervisor.lifecycle_snapshots());
        black_box(snapshots).len()
    }
}

fn main() -> ExitCode {
    bench_harness::main::<Rustrade>()
}
