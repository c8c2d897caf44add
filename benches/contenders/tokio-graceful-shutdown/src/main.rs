//! tokio-graceful-shutdown, which stops services but leaves restarts to its user. They are made as its example
//! `12_subsystem_auto_restart` makes them: each service is a subsystem that starts the run as a nested one, waits until
//! that has ended, and starts the next. No delay, no limit. The errors are of the type of the runs, so that none is
//! boxed; nobody subscribes to its traces.

use bench_harness::{Contender, Fault, Fleet, Work, Workload};
use std::process::ExitCode;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_graceful_shutdown::errors::GracefulShutdownError;
use tokio_graceful_shutdown::{ErrorAction, SubsystemBuilder, SubsystemHandle, Toplevel};
use tokio_util::sync::CancellationToken;

type Handle = SubsystemHandle<Fault>;

struct GracefulShutdown;

/// The tree of all services, and how to end it.
struct Tree {
    token: CancellationToken,
    ended: JoinHandle<Result<(), GracefulShutdownError<Fault>>>,
}

impl Contender for GracefulShutdown {
    type Fleet = Tree;

    // Two tasks are spawned for each run.
    const SLOWER: u32 = 4;

    fn cannot(workload: Workload) -> Option<&'static str> {
        // A subsystem tells whether it has finished, to who holds its handle. Nothing tells which there are.
        (workload == Workload::Reader).then_some("lists nothing")
    }

    async fn start<W: Work>(services: Vec<(String, W)>) -> Tree {
        let token = CancellationToken::new();
        let toplevel = Toplevel::new_with_shutdown_token(
            async move |root: &mut Handle| {
                for (name, work) in services {
                    let service = async move |service: &mut Handle| keep_alive(service, work).await;
                    drop(root.start(SubsystemBuilder::new(name, service)));
                }
            },
            token.clone(),
        );
        // A program waits for it all the time.
        let ended = tokio::spawn(toplevel.handle_shutdown_requests(Duration::MAX));
        Tree { token, ended }
    }
}

/// Runs it until it ends well.
async fn keep_alive<W: Work>(service: &Handle, work: W) -> Result<(), Fault> {
    loop {
        let work = work.clone();
        let run = async move |run: &mut Handle| work.run(run.on_shutdown_requested()).await;
        let run = SubsystemBuilder::new("run", run)
            .on_failure(ErrorAction::CatchAndLocalShutdown)
            .on_panic(ErrorAction::CatchAndLocalShutdown);
        if service.start(run).join().await.is_ok() || service.is_shutdown_requested() {
            return Ok(());
        }
    }
}

impl Fleet for Tree {
    type Lister = ();

    fn lister(&self) -> Option<()> {
        None
    }

    async fn shutdown(self) {
        self.token.cancel();
        let ended = self.ended.await.expect("it does not panic");
        ended.expect("all errors are caught");
    }
}

fn main() -> ExitCode {
    bench_harness::main::<GracefulShutdown>()
}
