//! ractor-supervisor. How it is set up:
//!
//! - Its static `Supervisor`, `OneForOne`. The `DynamicSupervisor`, and the `TaskSupervisor` on top of it, sleep for
//!   ten milliseconds at each restart, all children after one another.
//! - A supervisor searches a list of its children at each restart. Large fleets are therefore split among supervisors.
//! - `Transient` children, without a backoff: restarted when they fail, and at once. A window of no length, in which no
//!   restart is counted.
//! - A service is an actor that does its work in `post_start`, as the crate's own `TaskActor` does: if the work fails,
//!   so does the actor. No message is sent for that. Its state is `Starting` for as long as it works.
//! - It hears of no shutdown while it works. A supervisor that stops kills its children: their work is dropped.
//! - Nobody takes its logs.

use bench_harness::{Contender, Fleet, Lister, Work, Workload};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use ractor_supervisor::{
    ChildSpec, Restart, SpawnFn, Supervisor, SupervisorArguments, SupervisorMsg, SupervisorOptions,
    SupervisorStrategy,
};
use std::future::pending;
use std::hint::black_box;
use std::process::ExitCode;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// How many children a supervisor has. Some hundreds are the fastest.
const CHILDREN: usize = 256;

struct Ractor;

/// One run of a service.
struct Service<W> {
    work: W,
    /// Until the actor is gone.
    _alive: TaskTrackerToken,
}

impl<W: Work> Actor for Service<W> {
    type Msg = ();
    type State = ();
    type Arguments = ();

    async fn pre_start(
        &self,
        _myself: ActorRef<()>,
        _nothing: (),
    ) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn post_start(
        &self,
        myself: ActorRef<()>,
        _nothing: &mut (),
    ) -> Result<(), ActorProcessingErr> {
        self.work.run(pending()).await?;
        myself.stop(None);
        Ok(())
    }
}

/// How to start a service, for the first time and again.
fn spec<W: Work>(id: String, work: W, tracker: TaskTracker) -> ChildSpec {
    let spawn = move |supervisor, id| {
        let service = Service {
            work: work.clone(),
            _alive: tracker.token(),
        };
        async {
            let (actor, _task) = Supervisor::spawn_linked(id, service, (), supervisor).await?;
            Ok(actor.get_cell())
        }
    };
    ChildSpec {
        id,
        restart: Restart::Transient,
        spawn_fn: SpawnFn::new(spawn),
        backoff_fn: None,
        reset_after: None,
    }
}

impl Contender for Ractor {
    type Fleet = Supervisors;

    // An actor is spawned, named and linked for each run.
    const SLOWER: u32 = 4;

    fn note(_workload: Workload) -> Option<&'static str> {
        Some("256 services a supervisor")
    }

    async fn start<W: Work>(services: Vec<(String, W)>) -> Supervisors {
        let tracker = TaskTracker::new();
        let mut specs = services
            .into_iter()
            .map(|(name, work)| spec(name, work, tracker.clone()))
            .peekable();
        let mut supervisors = Vec::new();
        while specs.peek().is_some() {
            let arguments = SupervisorArguments {
                child_specs: specs.by_ref().take(CHILDREN).collect(),
                options: SupervisorOptions {
                    strategy: SupervisorStrategy::OneForOne,
                    max_restarts: usize::MAX,
                    max_window: Duration::ZERO,
                    reset_after: None,
                },
            };
            let name = format!("supervisor-{}", supervisors.len());
            let spawned = Supervisor::spawn(name, arguments).await;
            supervisors.push(spawned.expect("the names are all different"));
        }
        drop(specs);
        Supervisors {
            supervisors,
            tracker,
        }
    }
}

/// The supervisors, and who is left.
struct Supervisors {
    supervisors: Vec<(ActorRef<SupervisorMsg>, JoinHandle<()>)>,
    tracker: TaskTracker,
}

impl Fleet for Supervisors {
    type Lister = Reader;

    fn lister(&self) -> Option<Reader> {
        let supervisors = self.supervisors.iter();
        let children = supervisors.flat_map(|(actor, _)| actor.get_children());
        Some(Reader(
            children.filter_map(|child| child.get_name()).collect(),
        ))
    }

    async fn shutdown(self) {
        for (actor, _) in &self.supervisors {
            actor.stop(None);
        }
        for (_, task) in self.supervisors {
            task.await.expect("a supervisor does not panic");
        }
        // They have killed their children, but do not wait for them.
        self.tracker.close();
        self.tracker.wait().await;
    }
}

/// Finds them by their names. Their supervisors tell those only who run, and `InspectState` no states.
struct Reader(Vec<String>);

impl Lister for Reader {
    fn list(&self) -> usize {
        for name in &self.0 {
            // None, if it is between two runs.
            black_box(ractor::registry::where_is(name).map(|child| child.get_status()));
        }
        self.0.len()
    }
}

fn main() -> ExitCode {
    bench_harness::main::<Ractor>()
}
