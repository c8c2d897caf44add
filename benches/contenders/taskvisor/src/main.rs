//! taskvisor: a task for each service, and a registry of them that a task of its own keeps. No delay, and no limit to anything; nobody
//! subscribes to its events, and its controller, which queues what may not run together, is left out.

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
        // By default there may be 1024 services.
        let config = SupervisorConfig::new()
            .with_max_registered_tasks(None)
            .with_ownership_capacity(None);
        // None, and not the least: from no delay at all on it does without its own floor of 1 ms.
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
        if std::env::var_os("ADD").is_some() {
            for s in specs {
                handle.add(s).await.expect("x");
            }
            return Services {
                handle,
                run: tokio::spawn(async { Ok(()) }),
                runtime: Handle::current(),
            };
        }
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
            // The names are in order.
            let running = self.handle.alive_snapshot().await;
            if std::env::var_os("NOJOIN").is_some() {
                black_box(&running);
                return all.len();
            }
            all.iter()
                .map(|(_id, name)| black_box((name, running.binary_search(name).is_ok())))
                .count()
        })
    }
}

fn main() -> ExitCode {
    bench_harness::main::<Taskvisor>()
}
