//! A history -> what happens when the real supervisor lives through it, on a paused clock and in one thread.

use crate::actor::Actor;
use crate::script::{Command, Common, GroupSpec, History, Node, ServiceSpec, Trigger, Wish, ms};
use crate::trace::{Answer, Entry, Line, Spawned, Trace};
use crate::witness::Witness;
use janus_supervisor::{
    Group, Intensity, JanusSupervisor, Observer, Readiness, ServiceEvent, ServiceHandle,
    SpawnError, SpawnOptions, SupervisorConfig, SupervisorError, TerminationReason,
};
use std::future::poll_fn;
use std::io;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::Poll;
use std::time::Duration;
use tokio::task::JoinHandle;

/// No history takes longer than its last command, the shutdown and this.
const LONG: Duration = Duration::from_secs(3_600);

/// Lives through it, and answers all that was seen.
///
/// # Errors
/// The runtime could not be made.
pub(crate) fn live(history: &History) -> io::Result<Vec<Line>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()?;
    Ok(runtime.block_on(async {
        let trace = Arc::new(Trace::new());
        let mut director = Director::new(history, Arc::clone(&trace));
        let all = tokio::time::timeout(LONG, director.direct());
        if all.await.is_err() {
            trace.add(Entry::Fault("it hangs".to_owned()));
        }
        director.witness.close();
        trace.take()
    }))
}

/// Does what the history says.
struct Director<'a> {
    history: &'a History,
    trace: Arc<Trace>,
    witness: Arc<Witness>,
    asked: usize,
    /// The task that waits in `run_until_shutdown`.
    running: Option<JoinHandle<()>>,
    /// Those that wait for drains.
    waiting: Vec<JoinHandle<()>>,
}

impl<'a> Director<'a> {
    fn new(history: &'a History, trace: Arc<Trace>) -> Self {
        let witness = Arc::new(Witness::new(Arc::clone(&trace)));
        let fleet = &history.fleet;
        let mut config = SupervisorConfig::default()
            .without_signal_handler()
            .with_seed(fleet.seed)
            .with_shutdown_timeout(ms(fleet.shutdown_timeout))
            .with_abort_timeout(ms(fleet.abort_timeout))
            .with_auto_shutdown(fleet.auto_shutdown);
        if let Some((most, within)) = fleet.intensity {
            config = config.with_intensity(Intensity::new(most, ms(within)));
        }
        if let Some(every) = fleet.observer_panics {
            config = config.with_observer(Arc::new(Grumbler {
                every,
                heard: AtomicU64::new(0),
            }));
        }
        config = config.with_observer(Arc::clone(&witness) as Arc<_>);
        witness.keep(JanusSupervisor::new(config));
        Self {
            history,
            trace,
            witness,
            asked: 0,
            running: None,
            waiting: Vec::new(),
        }
    }

    async fn direct(&mut self) {
        if self.history.fleet.is_run {
            self.run();
        }
        for step in &self.history.steps {
            self.wait_until(ms(step.at)).await;
            self.obey(&step.command).await;
        }
        let (at, trigger) = self.history.end;
        self.wait_until(ms(at)).await;
        self.shut_down(trigger);
        self.wait_for_all().await;
        // So that whoever is to be answered now, is.
        tokio::time::sleep(ms(1)).await;
        self.witness.nothing_is_left();
        self.trace.add(Entry::Over);
    }

    async fn wait_until(&self, at: Duration) {
        let wait = at.saturating_sub(self.trace.elapsed());
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
            self.witness.settle_all();
        }
    }

    /// Has somebody wait in `run_until_shutdown`.
    fn run(&mut self) {
        let Some(supervisor) = self.witness.supervisor() else {
            return;
        };
        let trace = Arc::clone(&self.trace);
        self.running = Some(tokio::spawn(async move {
            let returned = supervisor.run_until_shutdown().await;
            trace.add(match returned {
                Ok(report) | Err(SupervisorError::GaveUp { report, .. }) => {
                    trace.add(Entry::RunReturned(report.cause));
                    Entry::Drained(report.drain)
                }
                Err(error) => Entry::Fault(error.to_string()),
            });
        }));
    }

    async fn obey(&mut self, command: &Command) {
        match command {
            Command::Spawn(tree) => self.spawn(*tree),
            Command::Ask(wish, path) => {
                let handle = self.witness.handle(path);
                if let Some(handle) = handle.filter(|it| !begins_anew(*wish, it)) {
                    self.ask(*wish, handle).await;
                }
            }
            Command::AskAndLeave(wish, path) => {
                let handle = self.witness.handle(path);
                if let Some(handle) = handle.filter(|it| !begins_anew(*wish, it)) {
                    self.trace.add(Entry::AskedAndLeft(*wish, handle.id()));
                    let _left = poll_once(&mut answer(*wish, handle)).await;
                }
            }
            Command::Forget(path) => {
                if let Some(supervisor) = self.witness.supervisor() {
                    let forgotten = supervisor.remove_service(path).is_ok();
                    self.trace.add(Entry::Forgotten(path.clone(), forgotten));
                }
            }
            Command::ForgetAllTerminated => {
                if let Some(supervisor) = self.witness.supervisor() {
                    supervisor.remove_terminated();
                }
            }
            Command::Shutdown(trigger) => self.shut_down(*trigger),
        }
    }

    /// Makes the request, and has somebody wait for the answer.
    async fn ask(&mut self, wish: Wish, handle: ServiceHandle) {
        let no = self.asked;
        self.asked += 1;
        self.trace.add(Entry::Asked(no, wish, handle.id()));
        let mut asking = answer(wish, handle);
        if let Poll::Ready(answer) = poll_once(&mut asking).await {
            self.trace.add(Entry::Answered(no, answer));
            return;
        }
        let trace = Arc::clone(&self.trace);
        tokio::spawn(async move {
            let answer = asking.await;
            trace.add(Entry::Answered(no, answer));
        });
    }

    fn spawn(&self, tree: usize) {
        let Some(node) = self.history.trees.get(tree) else {
            return;
        };
        self.trace.add(Entry::Spawning(tree));
        let spawned = match self.witness.supervisor() {
            None => Spawned::Nobody,
            Some(supervisor) => self.spawn_on(&supervisor, node),
        };
        self.trace.add(Entry::Spawned(spawned));
    }

    fn spawn_on(&self, supervisor: &JanusSupervisor, node: &Node) -> Spawned {
        let spawned = match node {
            Node::Service(spec) => {
                let (service, options) = self.service(spec, "");
                let spawned = supervisor.spawn_service_with_options(service, options);
                spawned.map(drop)
            }
            Node::Group(spec) => supervisor.spawn_group(self.group(spec, "")).map(drop),
        };
        match spawned {
            Ok(()) => Spawned::Done,
            Err(SpawnError::DuplicateName { .. }) => Spawned::NameInUse,
            Err(SpawnError::UnknownDependency { .. }) => Spawned::NoSuchDependency,
            Err(SpawnError::DependencyCycle { .. }) => Spawned::Cycle,
            Err(SpawnError::ShuttingDown { .. }) => Spawned::TooLate,
            Err(error) => Spawned::Refused(error.to_string()),
        }
    }

    fn service(&self, spec: &ServiceSpec, path: &str) -> (Actor, SpawnOptions) {
        let common = &spec.common;
        let path = format!("{path}{}", common.name);
        let mut options =
            SpawnOptions::with_backoff(common.backoff.config()).after(common.after.clone());
        if let Some(grace) = common.grace {
            options = options.with_shutdown_grace(ms(grace));
        }
        if common.significant {
            options = options.significant();
        }
        if spec.notify {
            options = options.with_readiness(Readiness::Notify);
        }
        if let Some(timeout) = spec.start_timeout {
            options = options.with_start_timeout(ms(timeout));
        }
        if let Some(period) = spec.watchdog {
            options = options.with_watchdog(ms(period));
        }
        if spec.ephemeral {
            options = options.ephemeral();
        }
        (
            Actor::new(spec.clone(), path, Arc::clone(&self.trace)),
            options,
        )
    }

    fn group(&self, spec: &GroupSpec, path: &str) -> Group {
        let Common {
            name,
            policy,
            backoff,
            grace,
            significant,
            after,
        } = &spec.common;
        let below = format!("{path}{name}/");
        let (most, within) = spec.intensity;
        let mut group = Group::new(name.as_str())
            .strategy(spec.strategy)
            .intensity(Intensity::new(most, ms(within)))
            .auto_shutdown(spec.auto_shutdown)
            .restart_policy(*policy)
            .backoff(backoff.config())
            .after(after.clone());
        if let Some(grace) = grace {
            group = group.shutdown_grace(ms(*grace));
        }
        if *significant {
            group = group.significant();
        }
        for child in &spec.children {
            group = match child {
                Node::Group(child) => group.group(self.group(child, &below)),
                Node::Service(child) => {
                    let (service, options) = self.service(child, &below);
                    group.service_with_options(service, options)
                }
            };
        }
        group
    }

    fn shut_down(&mut self, trigger: Trigger) {
        let Some(supervisor) = self.witness.supervisor() else {
            return;
        };
        self.trace.add(Entry::Shutdown(trigger));
        match trigger {
            Trigger::Call => supervisor.trigger_shutdown(),
            Trigger::Token => supervisor.cancel_token().cancel(),
            Trigger::Drop => {
                for task in self.waiting.drain(..).chain(self.running.take()) {
                    task.abort();
                }
                drop(self.witness.let_go());
                return;
            }
        }
        let trace = Arc::clone(&self.trace);
        self.waiting.push(tokio::spawn(async move {
            let report = supervisor.wait_for_drain().await;
            trace.add(Entry::Drained(report));
        }));
    }

    async fn wait_for_all(&mut self) {
        if let Some(supervisor) = self.witness.supervisor() {
            supervisor.wait_for_drain().await;
        }
        for handle in self.witness.handles() {
            handle.terminated().await;
        }
    }
}

type Asking = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// The request itself. It is made when this is first polled.
fn answer(wish: Wish, handle: ServiceHandle) -> Asking {
    Box::pin(async move {
        match wish {
            Wish::Stop => Answer::Ended(handle.stop().await),
            Wish::Restart => Answer::Restarted(handle.restart().await),
            Wish::Remove => Answer::Removed(handle.remove().await.termination_reason),
            Wish::WaitReady => Answer::Ready(handle.wait_ready().await),
            Wish::WaitEnd => Answer::Ended(handle.terminated().await),
        }
    })
}

/// Whether this would be another life of the service, which the model knows nothing of.
fn begins_anew(wish: Wish, handle: &ServiceHandle) -> bool {
    let reason = handle.termination_reason();
    let opened = matches!(reason, Some(TerminationReason::CircuitBreakerOpen { .. }));
    wish == Wish::Restart && opened
}

async fn poll_once(asking: &mut Asking) -> Poll<Answer> {
    poll_fn(|cx| Poll::Ready(asking.as_mut().poll(cx))).await
}

/// An observer that panics now and then.
struct Grumbler {
    every: u64,
    heard: AtomicU64,
}

impl Observer for Grumbler {
    fn observe(&self, _event: &ServiceEvent) {
        if self.heard.fetch_add(1, Relaxed) % self.every == 0 {
            // Without the hook that would print it.
            resume_unwind(Box::new("an observer that panics"));
        }
    }
}
