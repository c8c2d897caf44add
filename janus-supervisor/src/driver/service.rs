//! The task of one service: waits, reads the clock once, asks the machine, does what it says.
//!
//! Invariants:
//!
//! 1. All of the user's code (the run, its `Drop`, the service's `Drop`) is called inside `caught`: a panic never leaves it.
//! 2. The machine hears of everything, also when the runtime drops the task in the middle: see [`Task`]'s `Drop`.
//! 3. A stop is seen in the same poll as whatever else has happened, and is told first.

use super::current::Ambient;
use super::group::{Parent, has_failed_or_completed};
use super::timer::Timer;
use super::{caught, logged};
use crate::cell::{ServiceCell, cancel};
use crate::error::CheckError;
use crate::log::{self, FailureLog};
use crate::machine::{Command, Ended, Input, Permit, Step, Ticket, Turn};
use crate::revival::Dormant;
use crate::shared::Shared;
use crate::{
    CancellationToken, EventKind, Exit, Failure, FailureKind, JanusService, PanicError,
    ServiceError, ServiceEvent, ServiceLifecycle, ServicePhase, clock,
};
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;
use tokio::runtime::Handle;
use tracing::Span;
use tracing::level_filters::LevelFilter;

/// Runs a service until it has terminated.
#[expect(
    clippy::manual_async_fn,
    reason = "an async fn keeps room for its parameters twice, in every task"
)]
pub(crate) fn drive<S: JanusService>(
    mut task: Task,
    service: S,
) -> impl Future<Output = ()> + Send {
    async move {
        // Captures are dropped in the order of their mention: the value first, then the task, which says that all is over.
        supervise(&service, &mut task).await;
        task.retire(service);
    }
}

/// Runs the service's runs, one after the other, as the machine says.
///
/// The run in progress is a local: should the runtime drop the task in the middle, the run is gone before [`Task`]'s `Drop`
/// says so.
async fn supervise<S: JanusService>(service: &S, task: &mut Task) {
    let mut ambient = Ambient::new(Arc::clone(&task.cell));
    let mut token = task.cell.token();
    let mut signal = pin!(token.clone().cancelled_owned());
    // The token that `signal` waits for.
    let mut source = token.clone();
    let mut awaited = Awaited::Stop;
    let mut run = pin!(None);
    let mut leftover: Option<Box<Leftover>> = None;
    let mut span = Span::none();
    let mut entered = true;
    let mut timer = Timer::default();
    let news = task.cell.news();

    let mut now = clock::now();
    let mut next = match task.stop(now) {
        Some(stop) => task.tell(now, stop),
        None => task.tell(now, Input::Start),
    };
    loop {
        match next.command {
            Command::Run => {
                span = task.span();
                let begin = || service.run(token.clone());
                match caught(|| span.in_scope(|| ambient.scope(begin))) {
                    Ok(future) => {
                        run.set(Some(future));
                        entered = false;
                    }
                    Err(panic) => {
                        next = task.tell_end(now, Err(panic));
                        continue;
                    }
                }
            }
            Command::Ask { spread } => {
                // What was told last may have been told with a later clock.
                now = clock::now();
                next = task.ask(now, spread);
                continue;
            }
            Command::Stop => cancel(&token),
            Command::Abort => {
                task.discard("run", || span.in_scope(|| ambient.scope(|| run.set(None))));
                leftover = None;
                // Rare, and so not worth room in every task.
                Box::pin(task.cell.released()).await;
                now = clock::now();
                next = task.tell(now, Input::Gone);
                continue;
            }
            Command::Fail(kind) => {
                task.discard("run", || span.in_scope(|| ambient.scope(|| run.set(None))));
                leftover = None;
                Box::pin(task.cell.released()).await;
                now = clock::now();
                next = task.tell_failure(now, kind);
                continue;
            }
            Command::Wait => {}
            Command::Finish => break,
        }

        let mut slept = false;
        let mut told = news.clone().map(|news| Box::pin(news.notified_owned()));
        let woken = poll_fn(|cx| {
            let end = match (&mut leftover, run.as_mut().as_pin_mut()) {
                (Some(leftover), _) => leftover.poll(cx),
                (None, None) => Poll::Pending,
                (None, Some(future)) => {
                    match caught(|| span.in_scope(|| ambient.scope(|| future.poll(cx)))) {
                        Ok(poll) => poll.map(Ok),
                        Err(panic) => Poll::Ready(Err(panic)),
                    }
                }
            };
            if !entered {
                entered = true;
                task.entered(now);
            }
            // Whoever does not wait need not be woken.
            let goes_on = end.is_ready() || next.deadline.is_some_and(|at| at <= now);
            let signalled = match awaited {
                Awaited::Nothing => false,
                _ if goes_on => source.is_cancelled(),
                _ => signal.as_mut().poll(cx).is_ready(),
            };
            let woken = match end {
                Poll::Ready(end) => Poll::Ready(Woken::by(signalled, Some(end))),
                Poll::Pending if signalled => Poll::Ready(Woken::by(true, None)),
                Poll::Pending
                    if told
                        .as_mut()
                        .is_some_and(|told| told.as_mut().poll(cx).is_ready()) =>
                {
                    Poll::Ready(Woken::by(false, None))
                }
                Poll::Pending => timer
                    .poll(next.deadline, now, cx)
                    .map(|()| Woken::by(false, None)),
            };
            slept |= woken.is_pending();
            woken
        })
        .await;

        // What was due at once, without a run or a wait in between, is still at the same time. A deadline that was ahead when `now`
        // was read and has passed by the first poll was not due at once: the machine would not see that it has passed.
        let was_ahead = next.deadline.is_some_and(|at| at > now);
        if slept || was_ahead || woken.signalled || woken.end.is_some() {
            now = clock::now();
        }
        if woken.signalled {
            if awaited == Awaited::Abort {
                awaited = Awaited::Nothing;
                next = task.tell(now, Input::Abort);
            } else if let Some(stop) = task.stop(now) {
                // After a stop of this service alone, the shutdown of all may still leave it less time.
                let alone = matches!(stop, Input::Stop { latest: None });
                let (token, what) = if alone && awaited == Awaited::Stop && task.parent.is_none() {
                    (&task.shared.root, Awaited::Shutdown)
                } else {
                    (task.abort_token(), Awaited::Abort)
                };
                source = token.clone();
                signal.set(source.clone().cancelled_owned());
                awaited = what;
                next = task.tell(now, stop);
            } else {
                // No stop: a permit, or the service cancelled its own token, which asks nobody for anything. Either way this
                // token has done its work, and the next run gets a fresh one.
                let (fresh, (restart, permit)) = task.renew_token();
                let used = std::mem::replace(&mut token, fresh);
                source = token.clone();
                signal.set(source.clone().cancelled_owned());
                next.command = Command::Wait;
                let wishes = [restart.then_some(Input::Restart), permit.map(Input::Permit)];
                for wish in wishes.into_iter().flatten() {
                    next = task.tell(now, wish).after(next.command);
                }
                if next.command == Command::Stop {
                    cancel(&used);
                    next.command = Command::Wait;
                }
            }
        }
        match woken.end {
            Some(mut end) => {
                if news.is_some() && task.cell.is_said_ready() {
                    let _only_wait = task.tell(now, Input::Ready);
                }
                let dropped = caught(|| span.in_scope(|| ambient.scope(|| run.set(None))));
                if let (Ok(Ok(())), Err(panic)) = (&end, dropped) {
                    end = Err(panic);
                }
                span = Span::none();
                if leftover.take().is_none() && task.cell.is_held() {
                    leftover = Some(Box::new(Leftover::new(end, &task.cell)));
                    if !woken.signalled {
                        next.command = Command::Wait;
                    }
                } else {
                    next = task.tell_end(now, end);
                }
            }
            None if woken.signalled => {}
            None if news.is_none() => next = task.tell(now, Input::Tick),
            None => next = task.tell_news(),
        }
    }
}

/// What a run came to: what it returned, or its panic.
type End = Result<Result<(), ServiceError>, PanicError>;

/// A run that has ended, and left something behind that has not: it is over when that is gone.
struct Leftover {
    end: Option<End>,
    gone: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Leftover {
    fn new(end: End, cell: &Arc<ServiceCell>) -> Self {
        let cell = Arc::clone(cell);
        Self {
            end: Some(end),
            gone: Box::pin(async move { cell.released().await }),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        match (self.gone.as_mut().poll(cx), self.end.take()) {
            (Poll::Ready(()), Some(end)) => Poll::Ready(end),
            (_, end) => {
                self.end = end;
                Poll::Pending
            }
        }
    }
}

/// Why a wait is over. With neither of the two, time has passed.
struct Woken {
    signalled: bool,
    end: Option<End>,
}

impl Woken {
    const fn by(signalled: bool, end: Option<End>) -> Self {
        Self { signalled, end }
    }
}

/// Which signal the task waits for: a stop, of it alone or of all; after a stop of it alone, that of all; then an abort.
#[derive(PartialEq, Eq)]
enum Awaited {
    Stop,
    Shutdown,
    Abort,
    Nothing,
}

/// The part of a [`Step`] that is left to do.
struct Next {
    command: Command,
    deadline: Option<Instant>,
}

impl Next {
    /// Two answers in a row: a command that is still to be carried out is not lost to one that says nothing.
    fn after(mut self, before: Command) -> Self {
        if self.command == Command::Wait {
            self.command = before;
        }
        self
    }
}

/// What the task of a service knows, whatever the type of the service.
#[derive(Debug)]
pub(crate) struct Task {
    cell: Arc<ServiceCell>,
    shared: Arc<Shared>,
    failures: FailureLog,
    /// The group it is in, if it is in one.
    parent: Option<Box<Parent>>,
    held: Held,
}

/// What a service has of the supervisor's limit on starts.
#[derive(Debug, Default)]
enum Held {
    #[default]
    Nothing,
    /// A turn that it waits for.
    Turn(Instant),
    /// A place among those that start, or in the queue for one.
    Place(Ticket),
}

impl Task {
    pub(crate) fn new(cell: Arc<ServiceCell>, shared: Arc<Shared>) -> Self {
        Self {
            cell,
            shared,
            failures: FailureLog::default(),
            parent: None,
            held: Held::Nothing,
        }
    }

    pub(super) fn child_of(mut self, parent: Parent) -> Self {
        self.parent = Some(Box::new(parent));
        self
    }

    /// Ends a service whose task will not be: it was asked to stop, or its runtime is gone.
    pub(super) fn never_began(mut self) {
        let now = clock::now();
        if let Some(stop) = self.stop(now) {
            let _finished = self.tell(now, stop);
        }
    }

    fn abort_token(&self) -> &CancellationToken {
        let parent = self.parent.as_ref();
        parent.map_or(&self.shared.abort, |parent| &parent.abort)
    }

    /// Gives the machine an input, and tells everybody what has happened.
    fn tell(&mut self, now: Instant, input: Input) -> Next {
        // By reference from here on: a step is large.
        match &mut self.cell.with_machine(|machine| machine.handle(now, input)) {
            Ok(step) => {
                self.report(now, step);
                self.publish(now, step);
                // Whoever begins a run keeps its place until that has been entered.
                if step.command != Command::Run {
                    self.give_up(now);
                }
                Next {
                    command: step.command,
                    deadline: step.deadline,
                }
            }
            Err(fault) => {
                // A fault of the machine. Ending the task makes the service terminated, which is safe and visible.
                logged(|| {
                    tracing::error!(service = &*self.cell.name, error = %fault, "janus: fault in the service machine");
                });
                Next {
                    command: Command::Finish,
                    deadline: None,
                }
            }
        }
    }

    /// Tells whatever the service is in what it has to know.
    fn report(&self, now: Instant, step: &Step) {
        if step.command == Command::Run {
            return; // when it has been entered
        }
        if let Some(parent) = &self.parent {
            let (go, held) = self
                .cell
                .with_machine(|machine| (machine.permit().go, machine.is_held()));
            let retry = self.cell.read(ServiceLifecycle::retry);
            parent.report(&step.happened, go, held, retry.map(|retry| retry.at));
        } else if self.shared.has_relations() {
            match step.happened.last().map(|last| &last.kind) {
                Some(EventKind::Running) => self.shared.is_up(&self.cell),
                Some(EventKind::BackingOff { .. }) if has_failed_or_completed(&step.happened) => {
                    self.shared.restarts(&self.cell, now);
                }
                _ => {}
            }
        }
    }

    /// Asks the supervisor's limit whether a run may begin.
    fn ask(&mut self, now: Instant, spread: bool) -> Next {
        let wait = |task: &Self| Next {
            command: Command::Wait,
            deadline: task.cell.with_machine(|machine| machine.deadline()),
        };
        if !self.cell.with_machine(|machine| machine.is_starting()) {
            // Its group has taken back what it allowed, in the same breath.
            return wait(self);
        }
        let turn = match &self.shared.starts {
            Some(starts) if spread => starts.take_turn(now),
            _ => Turn::Go,
        };
        match (turn, &self.shared.starts) {
            (Turn::At(at), _) => self.held = Held::Turn(at),
            (Turn::Go, Some(starts)) => {
                let (ticket, is_free) = starts.enter(&self.cell);
                self.held = Held::Place(ticket);
                if !is_free {
                    return wait(self);
                }
            }
            (Turn::Go, None) => {}
        }
        self.tell(now, Input::Turn(turn))
    }

    /// Lets others have what this service does not need any more of the supervisor's limit.
    fn give_up(&mut self, now: Instant) {
        let is_needed = match self.held {
            Held::Nothing => return,
            Held::Turn(_) => self.cell.with_machine(|machine| machine.is_put_off()),
            Held::Place(_) => self.cell.with_machine(|machine| machine.is_starting()),
        };
        if is_needed {
            return;
        }
        match (std::mem::take(&mut self.held), &self.shared.starts) {
            (Held::Turn(at), Some(starts)) => starts.give_back(at, now),
            (Held::Place(ticket), Some(starts)) => starts.leave(ticket),
            _ => {}
        }
    }

    /// The run has been polled for the first time: now it is ready, unless it has yet to say so.
    fn entered(&mut self, now: Instant) {
        self.give_up(now);
        let is_ready = || self.cell.read(ServiceLifecycle::phase) == ServicePhase::Running;
        if let Some(parent) = &self.parent {
            if is_ready() {
                let go = self.cell.with_machine(|machine| machine.permit().go);
                parent.report_ready(go);
            }
        } else if self.shared.has_relations() && is_ready() {
            self.shared.is_up(&self.cell);
        }
    }

    fn tell_end(&mut self, now: Instant, end: End) -> Next {
        let exit = match end {
            Ok(Ok(())) => Exit::Clean,
            Ok(Err(error)) => error.into(),
            Err(panic) => Exit::Failed(Failure::new(FailureKind::Panic, panic)),
        };
        let ended = Ended::judge(self.cell.policy, exit);
        self.tell(now, Input::Exited(ended))
    }

    /// Tells that the run was dropped because it did not show what it has to.
    fn tell_failure(&mut self, now: Instant, kind: FailureKind) -> Next {
        let checks = self.cell.with_machine(|machine| machine.checks());
        let failure = Failure::new(kind, CheckError::new(kind, checks));
        let ended = Ended::judge(self.cell.policy, Exit::Failed(failure));
        self.tell(now, Input::Exited(ended))
    }

    /// Tells what the run has said, or that one may begin, and that time has passed.
    fn tell_news(&mut self) -> Next {
        let now = clock::now();
        let granted = match self.held {
            Held::Place(ticket) => self.cell.granted() == Some(ticket),
            Held::Nothing | Held::Turn(_) => false,
        };
        if granted {
            let begins = self.tell(now, Input::Turn(Turn::Go));
            if begins.command == Command::Run {
                return begins;
            }
        }
        if self.cell.is_said_ready() {
            let _only_wait = self.tell(now, Input::Ready);
        }
        if let Some(at) = self.cell.alive_at() {
            let _only_wait = self.tell(now, Input::Heartbeat(at));
        }
        self.tell(now, Input::Tick)
    }

    fn publish(&mut self, now: Instant, step: &mut Step) {
        if step.happened.is_empty() {
            return;
        }
        if LevelFilter::current() != LevelFilter::OFF {
            logged(|| log::step(&self.cell.name, now, &step.happened, &mut self.failures));
        }
        if self.shared.is_observed() {
            self.tell_observers(now, step);
        } else {
            for happening in &step.happened {
                self.shared.metrics.count(&happening.kind);
            }
        }
        // Last, so that whoever waits finds everybody told.
        if self.shared.is_watched() {
            self.shared.tell_changed(&self.cell);
        }
    }

    fn tell_observers(&self, now: Instant, step: &mut Step) {
        let mut happened = step.happened.drain(..);
        let Some(first) = happened.next() else {
            return;
        };
        // One event that changes, so that the name is shared once and not once for each.
        let (id, name) = (self.cell.id, Arc::clone(&self.cell.name));
        let mut event = ServiceEvent::new(id, name, first.run, step.first_seq, now, first.kind);
        self.shared.observe(&event);
        for next in happened {
            event.run = next.run;
            event.seq += 1;
            event.kind = next.kind;
            self.shared.observe(&event);
        }
    }

    /// The stop that somebody wants, if anybody does.
    fn stop(&self, now: Instant) -> Option<Input> {
        let latest = || self.shared.shutdown_deadline(now).flatten();
        let wanted = self.cell.is_stop_requested();
        wanted.then(|| Input::Stop { latest: latest() })
    }

    fn renew_token(&self) -> (CancellationToken, (bool, Option<Permit>)) {
        let token = CancellationToken::new();
        let wishes = self.cell.replace_token(token.clone());
        if self.cell.is_stop_requested() {
            // The request may have gone to the old token.
            token.cancel();
        }
        (token, wishes)
    }

    /// The span that everything in this run is logged in. At error level, so that no filter on severity strips the service's
    /// own lines of the name they belong to.
    fn span(&self) -> Span {
        if !tracing::enabled!(tracing::Level::ERROR) {
            return Span::none();
        }
        let (run, attempt) = self
            .cell
            .read(|lifecycle| (lifecycle.start_count(), lifecycle.attempt()));
        let span = || tracing::error_span!("service", service = &*self.cell.name, run, attempt);
        caught(span).unwrap_or_else(|_| Span::none())
    }

    /// Drops the service, or keeps it: one that its breaker has terminated may begin anew.
    fn retire<S: JanusService>(&self, service: S) {
        let opened = self.cell.has_given_up();
        let may_begin_anew = opened && self.parent.is_none() && !self.cell.traits.ephemeral;
        match Handle::try_current() {
            Ok(runtime) if may_begin_anew => {
                self.cell.keep(Dormant::new(service, runtime));
                // Whoever cancelled it may not have seen the value.
                if self.shared.root.is_cancelled() {
                    self.cell.drop_dormant();
                }
            }
            _ => self.discard("service", || drop(service)),
        }
    }

    /// Drops something of the user's.
    fn discard(&self, what: &str, drop: impl FnOnce()) {
        if let Err(panic) = caught(drop) {
            logged(|| {
                tracing::warn!(service = &*self.cell.name, error = %panic, "the drop of the {what} panicked");
            });
        }
    }
}

/// The end of the task, whether it has run to it or its runtime has gone away.
impl Drop for Task {
    fn drop(&mut self) {
        let now = clock::now();
        let lost = !self.cell.read(|lifecycle| lifecycle.phase().is_terminal());
        // Changes nothing if the service has terminated.
        let _nothing_left_to_do = self.tell(now, Input::Lost);
        self.shared.note_end(&self.cell, lost);
        if self.cell.traits.ephemeral {
            self.shared.forget(&self.cell);
        }
        if self.cell.set_finished() {
            self.cell.drop_dormant();
            self.shared.tell(&self.cell, now, EventKind::Removed);
        }
        match &self.parent {
            Some(parent) => {
                let reason = self
                    .cell
                    .read(|lifecycle| lifecycle.termination_reason().cloned());
                parent.report_end(reason.as_ref());
            }
            // Inside a group whose run never began.
            None if self.cell.traits.inside => {}
            None => self.shared.ended(&self.cell),
        }
    }
}
