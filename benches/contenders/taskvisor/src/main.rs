//! taskvisor: a task for each service, and a registry of them that a task of its own keeps. No delay, and no limit to
//! anything; nobody subscribes to its events, and its controller, which queues what may not run together, is left out.

use bench_harness::{Contender, Fault, Fleet, Lister, Work, Workload};
use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use taskvisor::{
    BackoffPolicy, BoxTaskFuture, RuntimeError, Supervisor, SupervisorConfig, SupervisorHandle,
    Task, TaskContext, TaskDefaults, TaskError, TaskSpec,
};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

struct Taskvisor;

struct Service<W>(W);

impl<W: Work> Task for Service<W> {
    fn spawn(&self, ctx: TaskContext) -> BoxTaskFuture {
        let work = self.0.clone();
        Box::pin(async move {
            let result = work.run(ctx.cancelled()).await;
            result.map_err(TaskError::fail_from::<Fault>)
        })
    }
}

impl Contender for Taskvisor {
    type Fleet = Services;

    fn note(workload: Workload) -> Option<&'static str> {
        match workload {
            Workload::Idle | Workload::Reader => Some("tells only whether a service runs"),
            _ => None,
        }
    }

    async fn start<W: Work>(services: Vec<(String, W)>) -> Services {
        // By default there may be 1024 services, and as many that it still owns.
        let config = SupervisorConfig::new()
            .with_max_registered_tasks(None)
            .with_ownership_capacity(None);
        // Only with no delay at all does it leave out its own least, which is 1 ms.
        let defaults =
            TaskDefaults::default().with_backoff(BackoffPolicy::constant(Duration::ZERO));
        let supervisor = Supervisor::builder(config)
            .with_task_defaults(defaults)
            .build();
        let handle = supervisor.serve().expect("there is a runtime");
        let specs: Vec<TaskSpec> = services
            .into_iter()
            .map(|(name, work)| TaskSpec::restartable(name, Arc::new(Service(work))))
            .collect();
        // All at once: `add` asks the registry and waits for its answer, each time.
        let run = tokio::spawn(async move { supervisor.run(specs).await });
        Services {
            handle,
            run,
            runtime: Handle::current(),
        }
    }
}

struct Services {
    handle: SupervisorHandle,
    run: JoinHandle<Result<(), RuntimeError>>,
    runtime: Handle,
}

impl Fleet for Services {
    type Lister = Reader;

    fn lister(&self) -> Option<Reader> {
        Some(Reader {
            handle: self.handle.clone(),
            runtime: self.runtime.clone(),
        })
    }

    async fn shutdown(self) {
        self.handle.shutdown().await.expect("all end in time");
        let run = self.run.await.expect("it does not panic");
        run.expect("all end in time");
    }
}

struct Reader {
    handle: SupervisorHandle,
    runtime: Handle,
}

impl Lister for Reader {
    fn list(&self) -> usize {
        self.runtime.block_on(async {
            let all = self.handle.list().await;
            let running = self.handle.alive_snapshot().await;
            // The one is in order of start and the other in order of name, which here is the same.
            let mut running = running.iter().peekable();
            let states = all
                .iter()
                .map(|(_id, name)| black_box((name, running.next_if_eq(&name).is_some())));
            states.count()
        })
    }
}

fn main() -> ExitCode {
    bench_harness::main::<Taskvisor>()
}
