//! What the task of a service knows and does, whatever the type of the service. Whom it tells is in `told`, what it has
//! of the supervisor's limit on starts in `place`.

mod place;
mod told;

use self::place::Held;
use super::current::Ambient;
use super::group::Parent;
use super::timer::Timer;
use super::way::Way;
use super::{caught, logged};
use crate::cell::{Before, Call, Heard, ServiceCell};
use crate::error::{CheckError, RunEnd};
use crate::log::{self, Quiet};
use crate::machine::{Command, Decider, Ended, Input, Shortcut, Step, Turn, Turns};
use crate::revival::{Dormant, revive};
use crate::shared::Member;
use crate::{
    BoxError, CancellationToken, EventKind, Exit, Failure, FailureKind, JanusService, PanicError,
    ServiceLifecycle, TransitionError, clock,
};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;
use tokio::runtime::Handle;
use tracing::Span;

/// The task's side of a service.
pub(crate) struct Task {
    cell: Arc<ServiceCell>,
    ambient: Ambient,
    decider: Decider,
    /// What the next run is to begin with.
    token: Option<CancellationToken>,
    /// Few tasks have any of it.
    rare: Option<Box<Rare>>,
    /// Dropped last.
    shared: Member,
}

struct Rare {
    quiet: Quiet,
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
    /// A run was put off until the next turn.
    put_off: bool,
}

impl Rare {
    #[cold]
    fn new() -> Box<Self> {
        Box::new(Self {
            quiet: Quiet::default(),
            parent: None,
            held: Held::Nothing,
            span: Span::none(),
            leftovers: None,
            timer: Timer::default(),
            turns: Turns::new(),
            way: None,
            put_off: false,
        })
    }
}

/// What to do next. Small: it is handed on at every restart.
#[derive(Debug, Clone, Copy)]
pub(super) enum Next {
    /// Begin a run.
    Run,
    /// The same when others have had their turn.
    RunLater,
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
            token: None,
            rare: None,
        }
    }

    pub(super) fn child_of(mut self, parent: Parent) -> Self {
        self.rare().parent = Some(parent);
        self
    }

    #[inline]
    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_with(Rare::new)
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

    /// The task is polled. Returns what is to begin now: what was put off until then, or the first run.
    #[inline]
    pub(super) fn begin_turn(&mut self) -> Next {
        match &mut self.rare {
            Some(rare) => {
                rare.turns.begin();
                // It has been told of as begun: if it is to stop by now, its token says so.
                if std::mem::take(&mut rare.put_off) {
                    Next::Run
                } else {
                    Next::Wait
                }
            }
            None if self.decider.is_new() => self.begin(),
            None => Next::Wait,
        }
    }

    /// The task begins.
    fn begin(&mut self) -> Next {
        let Some(heard) = self.cell.heard() else {
            return Next::Wait;
        };
        let now = clock::now();
        if heard.is_only(Call::Start) && !self.is_followed() {
            match self.cell.begin(&mut self.decider, now) {
                Ok(Shortcut::Taken(token)) => {
                    self.count(Decider::BEGIN);
                    return self.run_with(token);
                }
                Ok(Shortcut::Closed(())) => {}
                Err(fault) => return self.fault(fault),
            }
        }
        self.hear(now, heard)
    }

    /// Tells the run to end.
    pub(super) fn stop_run(&self) {
        self.cell.cancel_run();
    }

    /// A run is to begin, with this token.
    #[inline]
    fn run_with(&mut self, token: CancellationToken) -> Next {
        self.token = Some(token);
        Next::Run
    }

    /// What the run is to begin with that [`Next::Run`] says.
    #[inline]
    pub(super) const fn take_token(&mut self) -> Option<CancellationToken> {
        self.token.take()
    }

    /// Has the run begin when others have had their turn.
    pub(super) fn put_off(&mut self, cx: &mut Context<'_>) {
        self.rare().put_off = true;
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
        let Self { ambient, rare, .. } = self;
        match rare.as_ref().map(|rare| &rare.span) {
            Some(span) if !span.is_none() => log::within(span, || ambient.call(act)),
            _ => ambient.call(act),
        }
    }

    /// The run has been polled for the first time: now it is ready, unless it has yet to say so.
    #[inline]
    pub(super) fn entered(&mut self) {
        self.cell.set_entered();
        if self.decider.has_extras() || self.shared.has_relations(&self.cell) {
            self.tell_entered();
        }
    }

    /// The run is over. What it has left behind may not be.
    #[inline]
    pub(super) fn ended(&mut self, end: RunEnd) -> Next {
        if !self.cell.is_held() {
            return self.again(end).unwrap_or_else(|end| self.over(end.into()));
        }
        let next = match self.cell.heard() {
            Some(heard) => self.hear(clock::now(), heard),
            None => Next::Wait,
        };
        self.wait_for_leftovers(Left::Ended(end.into()));
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
        // Whoever looks at the token can end with the run. The next one gets another.
        self.cell.cancel_run();
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
            // Whatever others want, it has to be gone first; but that the service is to stop can be seen meanwhile.
            self.cell.listen(cx.waker());
            return match self.cell.heard_one(Call::Stop) {
                Some(stop) => Poll::Ready(self.hear(clock::now(), stop)),
                None => Poll::Pending,
            };
        }
        if !self.cell.is_called() {
            self.cell.listen(cx.waker());
        }
        if let Some(heard) = self.cell.heard() {
            let now = clock::now();
            let mut next = self.hear(now, heard);
            // A run that calls its own task each time escapes neither its deadline nor its turn.
            let is_due = || self.decider.deadline().is_some_and(|at| at <= now);
            if matches!(next, Next::Wait) && is_due() {
                next = self.tick(now);
            }
            if matches!(next, Next::Wait) && !self.rare().turns.goes_on(now) {
                self.give_way(cx);
                return Poll::Pending;
            }
            return Poll::Ready(self.in_turn(now, next));
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
        Poll::Ready(self.tick(clock::now()))
    }

    /// Time has passed.
    fn tick(&mut self, now: Instant) -> Next {
        if self.cell.traits.hears {
            self.tell_news(now)
        } else {
            self.tell(now, Input::Tick)
        }
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
        self.leave_span();
        let exit = match stop {
            Some(_) if !self.is_followed() => {
                match self.cell.finish(&mut self.decider, now, exit) {
                    Ok(Shortcut::Taken(_dropped_here)) => {
                        self.count(Decider::FINISH);
                        return Next::Finish;
                    }
                    Ok(Shortcut::Closed(exit)) => exit,
                    Err(fault) => return self.fault(fault),
                }
            }
            _ => exit,
        };
        let mut ended = Ended::judge(self.cell.policy, exit);
        self.step(now, |decider, life, step| {
            if let Some(stop) = stop {
                decider.decide(life, now, stop, step)?;
            }
            decider.ended(life, now, &mut ended, step)
        })
    }

    /// Has another run follow at once where a run has failed and nobody wants anything else. Returns the end where that
    /// is not so.
    #[inline]
    fn again(&mut self, end: RunEnd) -> Result<Next, RunEnd> {
        let cell = &self.cell;
        if !cell.policy.retries() || cell.is_called() || self.shared.has_relations(&self.cell) {
            return Err(end);
        }
        match end {
            RunEnd::Failed(error) => self
                .fail_at_once(FailureKind::Error, error)
                .map_err(RunEnd::Failed),
            RunEnd::Panicked(error) => self
                .fail_at_once(FailureKind::Panic, error)
                .map_err(RunEnd::Panicked),
            RunEnd::Clean | RunEnd::Permanent(_) => Err(end),
        }
    }

    #[inline]
    fn fail_at_once(&mut self, kind: FailureKind, error: BoxError) -> Result<Next, BoxError> {
        let now = clock::now();
        if self.is_listened_to() {
            return self.fail_at_once_aloud(now, kind, error);
        }
        match self.cell.again(&mut self.decider, now, kind, error, None) {
            Ok(Shortcut::Taken((token, _dropped_here))) => {
                self.count(Decider::AGAIN);
                let run = self.run_with(token);
                Ok(self.in_turn(now, run))
            }
            Ok(Shortcut::Closed(error)) => Err(error),
            Err(fault) => Ok(self.fault(fault)),
        }
    }

    /// The same where somebody listens.
    fn fail_at_once_aloud(
        &mut self,
        now: Instant,
        kind: FailureKind,
        error: BoxError,
    ) -> Result<Next, BoxError> {
        let mut step = Step::new(true);
        let decider = &mut self.decider;
        match self.cell.again(decider, now, kind, error, Some(&mut step)) {
            Ok(Shortcut::Taken((token, _dropped_here))) => {
                self.tell_all(now, &mut step);
                let run = self.run_with(token);
                Ok(self.in_turn(now, run))
            }
            Ok(Shortcut::Closed(error)) => Err(error),
            Err(fault) => Ok(self.fault(fault)),
        }
    }

    /// Leaves room for others before a run that follows at once.
    #[inline]
    fn in_turn(&mut self, now: Instant, next: Next) -> Next {
        if matches!(next, Next::Run) && !self.rare().turns.goes_on(now) {
            Next::RunLater
        } else {
            next
        }
    }

    /// Hears calls one by one, up to one that there is something to do for: the others are heard when that is done, so
    /// that no answer takes the place of another, and a run that is to end sees its token before it hears anything
    /// else.
    fn hear(&mut self, now: Instant, mut heard: Heard) -> Next {
        while let Some(call) = heard.take_first() {
            let next = match call {
                Call::Stop => {
                    let stop = self.stop(now);
                    self.tell(now, stop)
                }
                Call::Start => self.tell(now, Input::Start),
                Call::Abort => self.tell(now, Input::Abort),
                Call::Wish => self.hear_wishes(now),
                Call::News => self.tell_news(now),
                Call::Look => {
                    // A crash loop may be in no other state between its turns than before a first poll: whoever waits for
                    // the end of one must get to see what comes after it.
                    self.rare().turns.spend();
                    self.tell_up();
                    self.shared.tell_changed(&self.cell);
                    Next::Wait
                }
            };
            if !matches!(next, Next::Wait) {
                self.cell.hear_later(heard);
                return next;
            }
        }
        Next::Wait
    }

    fn hear_wishes(&mut self, now: Instant) -> Next {
        let (restart, permit) = self.cell.take_wishes();
        let next = if restart {
            self.tell(now, Input::Restart)
        } else {
            Next::Wait
        };
        match permit {
            Some(permit) if matches!(next, Next::Wait) => self.tell(now, Input::Permit(permit)),
            Some(_) => {
                self.cell.hear_later(Heard::only(Call::Wish));
                next
            }
            None => next,
        }
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
            if matches!(begins, Next::Run) {
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
        let latest = self.shared.shutdown_deadline(now);
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
        let mut step = Step::new(self.is_followed());
        match self.cell.decide(&mut self.decider, &mut step, decide) {
            Ok(token) => {
                if step.is_detailed() {
                    self.tell_all(now, &mut step);
                } else {
                    self.count(step.tally);
                    // Somebody who starts after it may have come in between, when it was not up yet.
                    if self.cell.is_related() {
                        self.tell_up();
                    }
                }
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

    /// Does what is to be done.
    #[inline]
    fn follow(&mut self, command: Command, token: Option<CancellationToken>) -> Next {
        // Whoever begins a run keeps its place until that has been entered.
        if command != Command::Run && self.decider.has_extras() {
            self.release_place();
        }
        match command {
            Command::Run => token.map_or(Next::Wait, |token| self.run_with(token)),
            Command::Ask { spread } => Next::Ask { spread },
            Command::Wait => Next::Wait,
            Command::Stop => Next::Stop,
            Command::Abort => Next::Drop(Dropped::Aborted),
            Command::Fail(kind) => Next::Drop(Dropped::Failed(kind)),
            Command::Finish => Next::Finish,
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

    /// The task is over, and that is not all.
    #[cold]
    fn end_otherwise(&self, before: Before) {
        if before.was_wanted_anew() {
            revive(&self.shared, &self.cell);
        }
        if before.was_removed() {
            self.cell.drop_dormant();
            self.shared
                .tell(&self.cell, clock::now(), EventKind::Removed);
        }
    }
}

/// The end of the task, whether it has run to it or its runtime has gone away.
impl Drop for Task {
    fn drop(&mut self) {
        let lost = !self.decider.is_finished();
        if lost {
            // First, so that nobody takes it for one that was stopped.
            if self.cell.set_lost() {
                log::lost(&self.cell.name);
            }
            let _nothing_left_to_do = self.tell(clock::now(), Input::Lost);
            self.leave_span();
        }
        let end = self.cell.end();
        self.shared.note_end(&self.cell, end, lost);
        if self.cell.traits.ephemeral {
            self.shared.forget(&self.cell);
        }
        let before = self.cell.set_finished();
        if !before.was_nothing() {
            self.end_otherwise(before);
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
