//! The limit: a task that loops over a boxed future and catches its panics. It cannot do anything else.

use bench_harness::{Contender, Fault, Fleet, Work, Workload};
use futures_util::FutureExt;
use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::process::ExitCode;
use tokio::task::coop;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

struct Bare;

/// The services, and how to end them.
struct Tasks {
    token: CancellationToken,
    tracker: TaskTracker,
}

impl Contender for Bare {
    type Fleet = Tasks;

    fn cannot(workload: Workload) -> Option<&'static str> {
        (workload == Workload::Reader).then_some("lists nothing")
    }

    async fn start<W: Work>(services: Vec<(String, W)>) -> Tasks {
        let fleet = Tasks {
            token: CancellationToken::new(),
            tracker: TaskTracker::new(),
        };
        for (_nobody_asks, work) in services {
            drop(fleet.tracker.spawn(supervise(work, fleet.token.clone())));
        }
        fleet
    }
}

/// Runs it until it ends well.
async fn supervise<W: Work>(work: W, token: CancellationToken) {
    while let Ok(Err(Fault)) | Err(_) = run(work.clone(), token.clone()).await {
        // So that a crash loop leaves room for others.
        coop::consume_budget().await;
    }
}

type Outcome = Result<Result<(), Fault>, Box<dyn Any + Send>>;

fn run<W: Work>(work: W, token: CancellationToken) -> impl Future<Output = Outcome> {
    let run: Pin<Box<dyn Future<Output = Result<(), Fault>> + Send>> =
        Box::pin(async move { work.run(token.cancelled()).await });
    AssertUnwindSafe(run).catch_unwind()
}

impl Fleet for Tasks {
    type Lister = ();

    fn lister(&self) -> Option<()> {
        None
    }

    async fn shutdown(self) {
        self.tracker.close();
        self.token.cancel();
        self.tracker.wait().await;
    }
}

fn main() -> ExitCode {
    bench_harness::main::<Bare>()
}
