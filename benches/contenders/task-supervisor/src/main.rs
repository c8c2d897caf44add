//! task-supervisor: one task that starts all runs, joins them, and keeps the restarts that are due in a heap. No delay,
//! no jitter, and no limit to restarts; its log goes nowhere.

use bench_harness::{Contender, Engine, Fleet, Job, Lister, Work, Workload};
use std::hint::black_box;
use std::process::ExitCode;
use std::time::Duration;
use task_supervisor::{
    CancellationToken, SupervisedTask, SupervisorBuilder, SupervisorHandle, TaskResult,
};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

struct TaskSupervisor;

#[derive(Clone)]
struct Service<W>(W);

impl<W: Work> SupervisedTask for Service<W> {
    async fn run(self, cancel: CancellationToken) -> TaskResult {
        Ok(self.0.run(cancel.cancelled()).await?)
    }
}

impl Contender for TaskSupervisor {
    type Fleet = Supervisor;

    fn note(workload: Workload) -> Option<&'static str> {
        match workload {
            Workload::Idle => None,
            // Its task looks for a request last, after all runs that have ended and all restarts that are due.
            Workload::Reader => Some(
                "sleeps for a tick of the timer (1 ms) before each restart; lists only while none is due",
            ),
            _ => Some("sleeps for a tick of the timer (1 ms) before each restart"),
        }
    }

    // It sleeps without a delay, too, and the timer rounds up: it starts a service a thousand times a second, and no
    // more.
    const SLOWER: u32 = 25;

    async fn start<W: Work>(services: Vec<(String, W)>) -> Supervisor {
        let builder = SupervisorBuilder::new()
            .with_unlimited_restarts()
            .with_base_restart_delay(Duration::ZERO)
            .with_max_restart_delay(Duration::ZERO)
            .with_restart_jitter(0.0);
        // All at once: `add_task` asks the supervisor's task and waits for its answer, each time.
        let builder = services.into_iter().fold(builder, |builder, (name, work)| {
            builder.with_task(&name, Service(work))
        });
        Supervisor(builder.spawn())
    }
}

struct Supervisor(SupervisorHandle);

impl Fleet for Supervisor {
    type Lister = Reader;

    fn lister(&self) -> Option<Reader> {
        let args: Vec<String> = std::env::args().skip(1).collect();
        let unattended = Job::read(&args)
            .is_ok_and(|job| job.workload == Workload::Idle && job.engine == Engine::Current);
        // The supervisor's task answers, and nobody runs it while idle services are listed on the current thread.
        (!unattended).then(|| Reader {
            handle: self.0.clone(),
            runtime: Builder::new_current_thread()
                .enable_time()
                .build()
                .expect("it needs nothing of the system"),
        })
    }

    async fn shutdown(self) {
        self.0.shutdown().await.expect("nobody gives up");
    }
}

struct Reader {
    handle: SupervisorHandle,
    /// To wait on.
    runtime: Runtime,
}

impl Reader {
    /// Nobody runs the supervisor's task any more when a storm on the current thread is over: a list that is due then
    /// has no answer. Longer than a storm, so that none is given up before.
    const PATIENCE: Duration = Duration::from_secs(1);
}

impl Lister for Reader {
    fn list(&self) -> usize {
        let statuses = async { timeout(Self::PATIENCE, self.handle.task_statuses()).await };
        match self.runtime.block_on(statuses) {
            Ok(Ok(statuses)) => black_box(statuses).len(),
            Ok(Err(_)) | Err(_) => 0,
        }
    }
}

fn main() -> ExitCode {
    bench_harness::main::<TaskSupervisor>()
}
