//! What the task of a service knows and does, whatever the type of the service.

use super::current::Ambient;
use super::group::{Parent, has_failed_or_completed};
use super::timer::Timer;
use super::way::Way;
use super::{caught, logged};
use crate::cell::{Call, Heard, ServiceCell};
use crate::error::CheckError;
use crate::log::{self, FailureLog};
use crate::machine::{Again, Command, Decider, Ended, Input, Step, Tally, Ticket, Turn, Turns};
use crate::revival::Dormant;
use crate::shared::Member;
use crate::{
    AfterExit, CancellationToken, EventKind, Exit, Failure, FailureKind, JanusService, PanicError,
    ServiceEvent, ServiceLifecycle, ServicePhase, TransitionError, clock,
};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;
use tokio::runtime::Handle;
use tracing::Span;
use tracing::level_filters::LevelFilter;

/// The task's side of a service.
pub(crate) struct Task {
    cell: Arc<ServiceCell>,
    ambient: Ambient,
    decider: Decider,
    /// Few tasks have any of it.
    rare: Option<Box<Rare>>,
    /// Dropped last.
    shared: Member,
}

struct Rare {
    failures: FailureLog,
    /// The group it is in, if it is in one.
    parent: Option<Parent>,
    held: Held,
    /// What everything in the present run is logged in.
    span: Span,
    leftovers: Option<Leftovers>,
    timer: Timer,
    turns: Turns,
    /// How to give way between them, once that was needed.
    way: Option<Way>,
    /// What a run is to begin with that was put off.
    put_off: Option<CancellationToken>,
}

/// What a service has of the supervisor's limit on starts.
enum Held {
    Nothing,
    /// A turn that it waits for.
    Turn(Instant),
    /// A place among those that start, or in the queue for one.
    Place(Ticket),
}

/// What to do next.
pub(super) enum Next {
    /// Begin a run, with this token.
    Run(CancellationToken),
    /// The same when others have had their turn.
    RunLater(CancellationToken),
    /// Tell the run to end.
    Stop,
    /// Drop the run.
    Drop(Dropped),
    /// Ask the supervisor's limit whether a run may begin.
    Ask {
        spread: bool,
    },
    Wait,
    Finish,
}

impl Next {
    /// Two answers in a row: what is still to be done is not lost to an answer that says nothing.
    fn after(self, before: Self) -> Self {
        match self {
            Self::Wait => before,
            next => next,
        }
    }
}

/// Why a run is dropped.
#[derive(Debug, Clone, Copy)]
pub(super) enum Dropped {
    Aborted,
    Failed(FailureKind),
}

/// What a run that is over has left behind, and what is to be told when that is gone.
struct Leftovers {
    of: Left,
    gone: Pin<Box<dyn Future<Output = ()> + Send>>,
}

enum Left {
    Ended(Exit),
    Dropped(Dropped),
}

impl Task {
    pub(crate) fn new(cell: Arc<ServiceCell>, shared: Member, decider: Decider) -> Self {
        Self {
            ambient: Ambient::new(Arc::clone(&cell)),
            cell,
            shared,
            decider,
            rare: None,
        }
    }

    pub(super) fn child_of(mut self, parent: Parent) -> Self {
        self.rare().parent = Some(parent);
        self
    }

    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_with(|| {
            Box::new(Rare {
                failures: FailureLog::default(),
                parent: None,
                held: Held::Nothing,
                span: Span::none(),
                leftovers: None,
                timer: Timer::default(),
                turns: Turns::new(),
                way: None,
                put_off: None,
            })
        })
    }

    fn parent(&self) -> Option<&Parent> {
        self.rare.as_ref()?.parent.as_ref()
    }

    /// Ends a service whose task will not be: it was asked to stop, or its runtime is gone.
    pub(super) fn never_began(mut self) {
        if self.cell.is_stop_requested() {
            let now = clock::now();
            let stop = self.stop(now);
            let _finished = self.tell(now, stop);
        }
    }

    /// The task is polled. Answers what was put off until then.
    pub(super) fn begin_turn(&mut self) -> Next {
        let Some(rare) = &mut self.rare else {
            return Next::Wait;
        };
        rare.turns.begin();
        // It has been told of as begun: if it is to stop by now, its token says so.
        rare.put_off.take().map_or(Next::Wait, Next::Run)
    }

    /// Tells the run to end.
    pub(super) fn stop_run(&self) {
        self.cell.cancel_run();
    }

    /// Has the run begin when others have had their turn.
    pub(super) fn put_off(&mut self, token: CancellationToken, cx: &mut Context<'_>) {
        self.rare().put_off = Some(token);
        // Nobody else needs to wake it: what others want is heard in the next turn.
        self.give_way(cx);
    }

    fn give_way(&mut self, cx: &mut Context<'_>) {
        self.rare().way.get_or_insert_with(Way::here).give(cx);
    }

    /// Calls the run's own code, as what it is: in its span, and with its service as the current one.
    ///
    /// # Errors
    /// As `caught`.
    #[inline]
    pub(super) fn inside<R>(&mut self, act: impl FnOnce() -> R) -> Result<R, PanicError> {
        let span = self.rare.as_ref().map(|rare| &rare.span);
        self.ambient.call(|| {
            let _span = span.map(Span::enter);
            act()
        })
    }

    /// The run has been polled for the first time: now it is ready, unless it has yet to say so.
    #[inline]
    pub(super) fn entered(&mut self) {
        if self.decider.has_extras() || self.shared.has_relations() {
            self.tell_entered();
        }
    }

    fn tell_entered(&mut self) {
        self.give_up();
        let is_ready = || self.cell.read(ServiceLifecycle::phase) == ServicePhase::Running;
        if let Some(parent) = self.parent() {
            if is_ready() {
                parent.report_ready(self.decider.permit().go);
            }
        } else if self.shared.has_relations() && is_ready() {
            self.shared.is_up(&self.cell);
        }
    }

    /// The run is over. What it has left behind may not be.
    #[inline]
    pub(super) fn ended(&mut self, exit: Exit) -> Next {
        if !self.cell.is_held() {
            return self.again(exit).unwrap_or_else(|exit| self.over(exit));
        }
        let next = match self.cell.heard() {
            Some(heard) => self.hear(clock::now(), heard),
            None => Next::Wait,
        };
        self.wait_for_leftovers(Left::Ended(exit));
        next
    }

    /// Drops the run, and does not wait for what an earlier one has left.
    pub(super) fn drop_run(&mut self, drop: impl FnOnce()) {
        if let Err(panic) = self.inside(drop) {
            log::drop_panicked(&self.cell.name, "run", &panic);
        }
        if let Some(rare) = &mut self.rare {
            rare.leftovers = None;
        }
    }

    /// The run was dropped. What it has left behind may not be gone.
    pub(super) fn dropped(&mut self, why: Dropped) -> Next {
        if self.cell.is_held() {
            self.wait_for_leftovers(Left::Dropped(why));
            return Next::Wait;
        }
        self.tell_dropped(why)
    }

    fn wait_for_leftovers(&mut self, of: Left) {
        let cell = Arc::clone(&self.cell);
        let gone = Box::pin(async move { cell.released().await });
        self.rare().leftovers = Some(Leftovers { of, gone });
    }

    /// Whether a run that is over has left something behind that is not.
    pub(super) fn has_leftovers(&self) -> bool {
        let rare = self.rare.as_ref();
        rare.is_some_and(|rare| rare.leftovers.is_some())
    }

    /// Ready when what a run has left behind is gone.
    pub(super) fn poll_leftovers(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        let Some(rare) = &mut self.rare else {
            return Poll::Ready(Next::Wait);
        };
        if let Some(leftovers) = &mut rare.leftovers {
            ready!(leftovers.gone.as_mut().poll(cx));
        }
        Poll::Ready(match rare.leftovers.take().map(|left| left.of) {
            Some(Left::Ended(exit)) => self.over(exit),
            Some(Left::Dropped(why)) => self.tell_dropped(why),
            None => Next::Wait,
        })
    }

    /// Waits for what others want, and for what time brings.
    pub(super) fn wait(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        let leftovers = self.rare.as_ref().and_then(|rare| rare.leftovers.as_ref());
        if let Some(Left::Dropped(_)) = leftovers.map(|left| &left.of) {
            // Whatever others want, it has to be gone first.
            return Poll::Pending;
        }
        if !self.cell.is_called() {
            self.cell.listen(cx.waker());
        }
        if let Some(heard) = self.cell.heard() {
            return Poll::Ready(self.hear(clock::now(), heard));
        }
        let Some(deadline) = self.decider.deadline() else {
            return Poll::Pending;
        };
        let rare = self.rare();
        if !rare.timer.is_set() {
            let now = clock::now();
            if deadline <= now && !rare.turns.goes_on(now) {
                self.give_way(cx);
                return Poll::Pending;
            }
        }
        ready!(rare.timer.poll(deadline, cx));
        let now = clock::now();
        Poll::Ready(if self.cell.traits.hears {
            self.tell_news(now)
        } else {
            self.tell(now, Input::Tick)
        })
    }

    /// Asks the supervisor's limit whether a run may begin.
    pub(super) fn ask(&mut self, spread: bool) -> Next {
        // What was told last may have been told with a later clock.
        let now = clock::now();
        if !self.decider.is_starting() {
            // Its group has taken back what it allowed, in the same breath.
            return Next::Wait;
        }
        let turn = match &self.shared.starts {
            Some(starts) if spread => starts.take_turn(now),
            _ => Turn::Go,
        };
        match (turn, &self.shared.starts) {
            (Turn::At(at), _) => self.rare().held = Held::Turn(at),
            (Turn::Go, Some(starts)) => {
                let (ticket, is_free) = starts.enter(&self.cell);
                self.rare().held = Held::Place(ticket);
                if !is_free {
                    return Next::Wait;
                }
            }
            (Turn::Go, None) => {}
        }
        self.tell(now, Input::Turn(turn))
    }

    /// The run is over, and nothing is left of it.
    fn over(&mut self, exit: Exit) -> Next {
        // First, so that a shutdown that is heard of has begun by then.
        let heard = self.cell.heard();
        let now = clock::now();
        let stop = match heard {
            Some(heard) if heard.is_only(Call::Stop) && !self.cell.traits.hears => {
                Some(self.stop(now))
            }
            Some(heard) => {
                // What follows from the end takes the place of what follows from this.
                let _before = self.hear(now, heard);
                None
            }
            None => None,
        };
        if self.cell.traits.hears && self.cell.is_said_ready() {
            let _only_wait = self.tell(now, Input::Ready);
        }
        if let Some(rare) = &mut self.rare {
            rare.span = Span::none();
        }
        let mut ended = Ended::judge(self.cell.policy, exit);
        self.step(now, |decider, life, step| {
            if let Some(stop) = stop {
                decider.decide(life, now, stop, step)?;
            }
            decider.ended(life, now, &mut ended, step)
        })
    }

    /// Has another run follow at once where a run has failed and nobody wants anything else. Answers the exit where that is not so.
    #[inline]
    fn again(&mut self, exit: Exit) -> Result<Next, Exit> {
        let is_retried = self.cell.policy.after(&exit) == AfterExit::BackOff;
        match exit {
            Exit::Failed(failure)
                if is_retried && !self.cell.is_called() && !self.shared.has_relations() =>
            {
                self.fail_at_once(failure).map_err(Exit::Failed)
            }
            exit => Err(exit),
        }
    }

    #[inline]
    fn fail_at_once(&mut self, failure: Failure) -> Result<Next, Failure> {
        let now = clock::now();
        let next = if self.is_heard() {
            self.fail_at_once_aloud(now, failure)?
        } else {
            match self.cell.again(&mut self.decider, now, failure, None) {
                Ok((
                    Again::Begins {
                        displaced: _dropped_here,
                    },
                    token,
                )) => {
                    self.count(Tally::AGAIN);
                    token.map_or(Next::Wait, Next::Run)
                }
                Ok((Again::Not(failure), _)) => return Err(failure),
                Err(fault) => return Ok(self.fault(fault)),
            }
        };
        Ok(match next {
            // It must leave room for its siblings.
            Next::Run(token) if !self.rare().turns.goes_on(now) => Next::RunLater(token),
            next => next,
        })
    }

    /// The same where somebody listens.
    fn fail_at_once_aloud(&mut self, now: Instant, failure: Failure) -> Result<Next, Failure> {
        let mut step = Step::new(true);
        let decider = &mut self.decider;
        match self.cell.again(decider, now, failure, Some(&mut step)) {
            Ok((Again::Begins { displaced }, token)) => {
                step.displaced = displaced;
                Ok(self.carry_out(now, step, token))
            }
            Ok((Again::Not(failure), _)) => Err(failure),
            Err(fault) => Ok(self.fault(fault)),
        }
    }

    fn hear(&mut self, now: Instant, heard: Heard) -> Next {
        let mut next = Next::Wait;
        if heard.contains(Call::Stop) {
            let stop = self.stop(now);
            next = self.tell(now, stop);
        }
        if heard.contains(Call::Start) {
            next = self.tell(now, Input::Start).after(next);
        }
        if heard.contains(Call::Abort) {
            next = self.tell(now, Input::Abort).after(next);
        }
        if heard.contains(Call::Wish) {
            let (restart, permit) = self.cell.take_wishes();
            let wishes = [restart.then_some(Input::Restart), permit.map(Input::Permit)];
            for wish in wishes.into_iter().flatten() {
                next = self.tell(now, wish).after(next);
            }
        }
        if heard.contains(Call::News) {
            next = self.tell_news(now).after(next);
        }
        next
    }

    /// Tells that the run was dropped, and that nothing is left of it.
    fn tell_dropped(&mut self, why: Dropped) -> Next {
        let now = clock::now();
        match why {
            Dropped::Aborted => self.tell(now, Input::Gone),
            Dropped::Failed(kind) => {
                let failure = Failure::new(kind, CheckError::new(kind, self.decider.checks()));
                let ended = Ended::judge(self.cell.policy, Exit::Failed(failure));
                self.tell(now, Input::Exited(ended))
            }
        }
    }

    /// Tells what the run has said, or that one may begin, and that time has passed.
    fn tell_news(&mut self, now: Instant) -> Next {
        let held = self.rare.as_ref().map(|rare| &rare.held);
        let granted = match held {
            Some(Held::Place(ticket)) => self.cell.granted() == Some(*ticket),
            _ => false,
        };
        if granted {
            let begins = self.tell(now, Input::Turn(Turn::Go));
            if matches!(begins, Next::Run(_)) {
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

    /// The stop that somebody wants.
    fn stop(&self, now: Instant) -> Input {
        let latest = self.shared.shutdown_deadline(now).flatten();
        Input::Stop { latest }
    }

    fn tell(&mut self, now: Instant, input: Input) -> Next {
        self.step(now, |decider, life, step| {
            decider.decide(life, now, input, step)
        })
    }

    /// Has something decided, and does it.
    #[inline]
    fn step(
        &mut self,
        now: Instant,
        decide: impl FnOnce(
            &mut Decider,
            &mut ServiceLifecycle,
            &mut Step,
        ) -> Result<(), TransitionError>,
    ) -> Next {
        let mut step = Step::new(self.is_heard() || self.has_company());
        match self.cell.decide(&mut self.decider, &mut step, decide) {
            Ok(token) if step.is_detailed() => self.carry_out(now, step, token),
            Ok(token) => {
                self.count(step.tally);
                self.follow(step.command, token)
            }
            Err(fault) => self.fault(fault),
        }
    }

    /// A fault of ours. Ending the task makes the service terminated, which is safe and visible.
    #[cold]
    fn fault(&self, fault: TransitionError) -> Next {
        logged(|| {
            tracing::error!(service = &*self.cell.name, error = %fault, "janus: fault in the service machine");
        });
        Next::Finish
    }

    /// Whether anybody wants to know what happens to it, and not only how much.
    #[inline]
    fn is_heard(&self) -> bool {
        is_logged() || self.shared.is_observed() || self.shared.is_watched()
    }

    /// Tells everybody what has happened, and does what is to be done.
    fn carry_out(
        &mut self,
        now: Instant,
        mut step: Step,
        token: Option<CancellationToken>,
    ) -> Next {
        if self.has_company() {
            self.report(now, &step);
        }
        let is_logged = is_logged();
        if is_logged && step.tally.events > 0 {
            let (cell, rare) = (Arc::clone(&self.cell), self.rare());
            logged(|| log::step(&cell.name, now, &step.happened, &mut rare.failures));
        }
        if is_logged && step.command == Command::Run {
            self.rare().span = self.span();
        }
        if self.shared.is_observed() && step.tally.events > 0 {
            self.tell_observers(now, &mut step);
            self.tell_watchers();
        } else {
            self.count(step.tally);
        }
        self.follow(step.command, token)
    }

    /// Takes note of how much has happened, where nobody wants to know what.
    #[inline]
    fn count(&self, tally: Tally) {
        if tally.events > 0 {
            self.shared.metrics.add(tally);
            self.tell_watchers();
        }
    }

    /// Last, so that whoever waits finds everybody told. Also where nobody waited before: somebody may have looked in between.
    #[inline]
    fn tell_watchers(&self) {
        if self.shared.is_watched() {
            self.shared.tell_changed(&self.cell);
        }
    }

    /// Does what is to be done.
    #[inline]
    fn follow(&mut self, command: Command, token: Option<CancellationToken>) -> Next {
        // Whoever begins a run keeps its place until that has been entered.
        if command != Command::Run && self.decider.has_extras() {
            self.give_up();
        }
        match command {
            Command::Run => token.map_or(Next::Wait, Next::Run),
            Command::Ask { spread } => Next::Ask { spread },
            Command::Wait => Next::Wait,
            Command::Stop => Next::Stop,
            Command::Abort => Next::Drop(Dropped::Aborted),
            Command::Fail(kind) => Next::Drop(Dropped::Failed(kind)),
            Command::Finish => Next::Finish,
        }
    }

    /// Whether others have to know what happens to it.
    fn has_company(&self) -> bool {
        self.parent().is_some() || self.shared.has_relations()
    }

    /// Tells whatever the service is in what it has to know.
    fn report(&self, now: Instant, step: &Step) {
        if step.command == Command::Run {
            return; // when it has been entered
        }
        if let Some(parent) = self.parent() {
            let (go, held) = (self.decider.permit().go, self.decider.is_held());
            let retry = self.cell.read(ServiceLifecycle::retry);
            parent.report(&step.happened, go, held, retry.map(|retry| retry.at));
        } else {
            match step.happened.last().map(|last| &last.kind) {
                Some(EventKind::Running) => self.shared.is_up(&self.cell),
                Some(EventKind::BackingOff { .. }) if has_failed_or_completed(&step.happened) => {
                    self.shared.restarts(&self.cell, now);
                }
                _ => {}
            }
        }
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

    /// Lets others have what this service does not need any more of the supervisor's limit.
    fn give_up(&mut self) {
        let Some(rare) = &mut self.rare else { return };
        let is_needed = match rare.held {
            Held::Nothing => return,
            Held::Turn(_) => self.decider.is_put_off(),
            Held::Place(_) => self.decider.is_starting(),
        };
        if is_needed {
            return;
        }
        match (
            std::mem::replace(&mut rare.held, Held::Nothing),
            &self.shared.starts,
        ) {
            (Held::Turn(at), Some(starts)) => starts.give_back(at, clock::now()),
            (Held::Place(ticket), Some(starts)) => starts.leave(ticket),
            _ => {}
        }
    }

    /// Drops the service, or keeps it: one that its breaker has terminated may begin anew.
    pub(super) fn retire<S: JanusService>(&self, service: S) {
        let traits = self.cell.traits;
        let is_known = !traits.ephemeral && !traits.inside;
        let may_begin_anew = is_known && self.decider.has_backed_off() && self.cell.has_given_up();
        let runtime = may_begin_anew.then(Handle::try_current);
        match runtime {
            Some(Ok(runtime)) => {
                let decider = self.decider.anew(clock::now(), 0);
                let dormant = Dormant::new(service, runtime, decider);
                self.shared.keep(&self.cell, dormant);
            }
            _ => {
                if let Err(panic) = caught(|| drop(service)) {
                    log::drop_panicked(&self.cell.name, "service", &panic);
                }
            }
        }
    }
}

/// Whether anything is logged at all.
fn is_logged() -> bool {
    LevelFilter::current() != LevelFilter::OFF
}

/// The end of the task, whether it has run to it or its runtime has gone away.
impl Drop for Task {
    fn drop(&mut self) {
        let lost = !self.decider.is_finished();
        if lost {
            let _nothing_left_to_do = self.tell(clock::now(), Input::Lost);
        }
        let end = self.cell.end();
        self.shared.note_end(&self.cell, end, lost);
        if self.cell.traits.ephemeral {
            self.shared.forget(&self.cell);
        }
        if self.cell.set_finished() {
            self.cell.drop_dormant();
            self.shared
                .tell(&self.cell, clock::now(), EventKind::Removed);
        }
        match self.parent() {
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
