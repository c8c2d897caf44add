//! One group: who stops, in which order, who starts, when to give up.
//!
//! Invariants, which the tests cite:
//!
//! 1. Children start in order, each when the one before it has become ready or has ended, and stop in reverse, one by
//!    one.
//! 2. A child is told to start only when it is down. Under `OneForAll` nobody is told to start before all have come
//!    down, under `RestForOne` nobody after the one that failed.
//! 3. After [`GroupInput::Stop`] nobody is started, and [`GroupCommand::Finish`] comes when the last child has ended.
//! 4. Each restart counts towards the intensity once, however many children it moves.
//! 5. An input that is late, repeated or stale changes nothing and is answered with [`GroupCommand::Wait`].
//!
//! A child's own machine keeps its backoff. The group lets a child run; the child begins when its delay is over.

use super::rules::{AutoShutdown, ChildEnd, Intensity, Remaining, Strategy};
use janus_backoff::SlidingWindow;
use std::time::Instant;

/// What can happen to a group. Children are known by their place in the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GroupInput {
    /// The group's run has begun.
    Start,
    /// The child's run has become ready.
    Ready(usize),
    /// The child's run has ended by itself, and it is to run again.
    Down {
        /// Which.
        child: usize,
        /// When its backoff is over.
        due: Instant,
    },
    /// The child's run is gone without having failed: it was told to halt, or somebody wants it to run anew.
    Halted(usize),
    /// The child has terminated, and is gone.
    Ended {
        /// Which.
        child: usize,
        /// How.
        end: ChildEnd,
    },
    /// Somebody wants the group to end.
    Stop,
    /// Time has passed.
    Tick,
}

/// What to do now. After it: wait for the next input, at most until [`GroupMachine::deadline`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[must_use]
pub enum GroupCommand {
    /// Nothing but wait.
    Wait,
    /// Let the child run, as soon as its backoff is over.
    Start(usize),
    /// End the child's run, but not the child: it will be started again.
    Halt(usize),
    /// End the child for good.
    Stop(usize),
    /// All is over: every child has ended.
    Finish(GroupEnd),
}

/// How a group ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GroupEnd {
    /// It was asked to.
    Stopped,
    /// Its work is done: [`AutoShutdown`].
    Done,
    /// The same, but this child has failed for good, and it mattered. Of several, it is the first that did.
    DoneWithFailure(usize),
    /// This child was to be restarted once more than the [`Intensity`] tolerates.
    IntensityExceeded(usize),
    /// This child has given up for good, and its siblings cannot go on without it, or could not be started at all.
    ChildLost(usize),
}

/// What the group needs to know of a child beforehand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ChildRules {
    /// It is never restarted, so it does not come back after a restart of its siblings either.
    pub temporary: bool,
    /// Its end may end the group.
    pub significant: bool,
}

/// Where a child stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Child {
    /// Not running, and not allowed to.
    Down,
    /// Allowed to run, but not ready yet.
    Starting,
    Up,
    /// Told to halt.
    Halting,
    /// Told to stop.
    Stopping,
    Ended,
}

/// Where the group stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum State {
    New,
    /// All before `next` have had their turn; `next` is being started. All have, if `next` is the number of children.
    Up {
        next: usize,
    },
    /// For a restart of all from `from` on: those from `top` on are down, and the one before it is coming down.
    Lowering {
        from: usize,
        top: usize,
        due: Instant,
    },
    /// All from `from` on are down until `due`.
    Lowered {
        from: usize,
        due: Instant,
    },
    /// For good: those from `top` on have ended, and the one before it is ending.
    Stopping {
        top: usize,
        end: GroupEnd,
    },
    Finished,
}

/// The decisions about one group.
///
/// The same inputs give the same results. Each input costs amortised constant time, however large the group.
#[derive(Debug, Clone)]
pub struct GroupMachine {
    strategy: Strategy,
    intensity: Intensity,
    restarts: SlidingWindow,
    children: Vec<(ChildRules, Child)>,
    remaining: Remaining<usize>,
    state: State,
}

impl GroupMachine {
    /// A group whose run has not begun; all children are down.
    #[must_use]
    pub fn new(
        strategy: Strategy,
        intensity: Intensity,
        auto_shutdown: AutoShutdown,
        children: impl IntoIterator<Item = ChildRules>,
    ) -> Self {
        let mut remaining = Remaining::new(auto_shutdown);
        let children = children.into_iter().map(|rules| {
            remaining.add(rules.significant);
            (rules, Child::Down)
        });
        Self {
            strategy,
            intensity,
            restarts: SlidingWindow::new(),
            children: children.collect(),
            remaining,
            state: State::New,
        }
    }

    /// When the next [`GroupInput::Tick`] is due, if time alone will change anything.
    #[must_use]
    pub const fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Lowered { due, .. } => Some(due),
            State::New
            | State::Up { .. }
            | State::Lowering { .. }
            | State::Stopping { .. }
            | State::Finished => None,
        }
    }

    /// Whether all children have had their turn, and no restart is under way.
    #[must_use]
    pub fn is_up(&self) -> bool {
        matches!(self.state, State::Up { next } if next >= self.children.len())
    }

    /// Takes one input and decides.
    pub fn handle(&mut self, now: Instant, input: GroupInput) -> GroupCommand {
        match input {
            GroupInput::Start => match self.state {
                State::New => self.raise(0),
                State::Up { .. }
                | State::Lowering { .. }
                | State::Lowered { .. }
                | State::Stopping { .. }
                | State::Finished => GroupCommand::Wait,
            },
            GroupInput::Ready(child) => self.ready(child),
            GroupInput::Down { child, due } => self.down(now, child, due),
            GroupInput::Halted(child) => match self.child(child) {
                Child::Halting => {
                    self.set(child, Child::Down);
                    self.proceed(now)
                }
                Child::Starting | Child::Up => self.restarted_by_hand(now, child),
                Child::Down | Child::Stopping | Child::Ended => self.proceed(now),
            },
            GroupInput::Ended { child, end } => self.ended(now, child, end),
            GroupInput::Stop => self.stop(GroupEnd::Stopped),
            GroupInput::Tick => self.proceed(now),
        }
    }

    fn ready(&mut self, child: usize) -> GroupCommand {
        if self.child(child) != Child::Starting {
            return GroupCommand::Wait;
        }
        self.set(child, Child::Up);
        match self.state {
            State::Up { next } if next == child => self.raise(next + 1),
            _ => GroupCommand::Wait,
        }
    }

    fn down(&mut self, now: Instant, child: usize, due: Instant) -> GroupCommand {
        match self.child(child) {
            Child::Starting | Child::Up => self.set(child, Child::Down),
            // It failed in the very moment that it was told to halt: it is down, and its own delay counts, too.
            Child::Halting => {
                self.set(child, Child::Down);
                self.delay(due);
                return self.proceed(now);
            }
            Child::Down | Child::Stopping | Child::Ended => return GroupCommand::Wait,
        }
        let (top, earlier) = match self.state {
            State::Lowering { from, .. } | State::Lowered { from, .. } if child >= from => {
                // The restart that is under way is its restart, too.
                self.delay(due);
                return self.proceed(now);
            }
            State::Up { next } => (self.children.len().min(next + 1), due),
            State::Lowering { top, due, .. } => (top, due),
            State::Lowered { from, due } => (from, due),
            State::New | State::Stopping { .. } | State::Finished => return GroupCommand::Wait,
        };
        if self.intensity.is_exceeded_by(&mut self.restarts, now) {
            return self.stop(GroupEnd::IntensityExceeded(child));
        }
        let from = match self.strategy {
            Strategy::OneForOne => {
                self.set(child, Child::Starting);
                return GroupCommand::Start(child);
            }
            Strategy::OneForAll => 0,
            Strategy::RestForOne => child,
        };
        let due = due.max(earlier);
        self.state = State::Lowering { from, top, due };
        self.lower(now)
    }

    /// Nobody has failed, so nothing is counted, and the siblings go on. If they are coming down, it comes up again
    /// with them.
    fn restarted_by_hand(&mut self, now: Instant, child: usize) -> GroupCommand {
        match self.state {
            State::Lowering { from, .. } | State::Lowered { from, .. } if child >= from => {
                self.set(child, Child::Down);
                self.proceed(now)
            }
            State::New | State::Stopping { .. } | State::Finished => self.proceed(now),
            State::Up { .. } | State::Lowering { .. } | State::Lowered { .. } => {
                self.set(child, Child::Starting);
                GroupCommand::Start(child)
            }
        }
    }

    fn ended(&mut self, now: Instant, child: usize, end: ChildEnd) -> GroupCommand {
        let (before, rules) = (self.child(child), self.rules(child));
        if before == Child::Ended {
            return GroupCommand::Wait;
        }
        self.set(child, Child::Ended);
        // Whoever was told to stop has not ended by itself, however it looks.
        let end = if before == Child::Stopping {
            ChildEnd::Stopped
        } else {
            end
        };
        let done = self.remaining.end(rules.significant, end, || child);
        let starting = before == Child::Starting && self.is_next(child);
        let needed = self.strategy != Strategy::OneForOne && !rules.temporary;
        if done {
            let lost = self.remaining.lost();
            let end = lost.map_or(GroupEnd::Done, |lost| GroupEnd::DoneWithFailure(*lost));
            return self.stop(end);
        }
        if end == ChildEnd::Failed && (needed || starting) {
            return self.stop(GroupEnd::ChildLost(child));
        }
        match self.state {
            State::Up { next } if next == child => self.raise(next + 1),
            _ => self.proceed(now),
        }
    }

    /// Begins to end the group, unless it is ending already.
    fn stop(&mut self, end: GroupEnd) -> GroupCommand {
        if !matches!(self.state, State::Stopping { .. } | State::Finished) {
            let top = self.children.len();
            self.state = State::Stopping { top, end };
        }
        self.stop_next()
    }

    /// Goes on with what is under way.
    fn proceed(&mut self, now: Instant) -> GroupCommand {
        match self.state {
            State::Lowering { .. } => self.lower(now),
            State::Lowered { from, due } if due <= now => self.raise(from),
            State::Stopping { .. } => self.stop_next(),
            State::New | State::Up { .. } | State::Lowered { .. } | State::Finished => {
                GroupCommand::Wait
            }
        }
    }

    /// Starts the first child from here on that is down.
    fn raise(&mut self, from: usize) -> GroupCommand {
        let mut next = from;
        while next < self.children.len() {
            if self.child(next) == Child::Down {
                self.set(next, Child::Starting);
                self.state = State::Up { next };
                return GroupCommand::Start(next);
            }
            next += 1;
        }
        self.state = State::Up { next };
        GroupCommand::Wait
    }

    /// Brings the next one down, from the top.
    fn lower(&mut self, now: Instant) -> GroupCommand {
        let State::Lowering { from, mut top, due } = self.state else {
            return GroupCommand::Wait;
        };
        while top > from {
            let child = top - 1;
            match self.child(child) {
                Child::Down | Child::Ended => top = child,
                Child::Halting | Child::Stopping => {
                    self.state = State::Lowering { from, top, due };
                    return GroupCommand::Wait;
                }
                Child::Starting | Child::Up => {
                    self.state = State::Lowering { from, top, due };
                    let temporary = self.rules(child).temporary;
                    let (told, command) = if temporary {
                        (Child::Stopping, GroupCommand::Stop(child))
                    } else {
                        (Child::Halting, GroupCommand::Halt(child))
                    };
                    self.set(child, told);
                    return command;
                }
            }
        }
        self.state = State::Lowered { from, due };
        self.proceed(now)
    }

    /// Ends the next one for good, from the top.
    fn stop_next(&mut self) -> GroupCommand {
        let State::Stopping { mut top, end } = self.state else {
            return GroupCommand::Wait;
        };
        while top > 0 {
            let child = top - 1;
            match self.child(child) {
                Child::Ended => top = child,
                Child::Stopping => {
                    self.state = State::Stopping { top, end };
                    return GroupCommand::Wait;
                }
                Child::Down | Child::Starting | Child::Up | Child::Halting => {
                    self.state = State::Stopping { top, end };
                    self.set(child, Child::Stopping);
                    return GroupCommand::Stop(child);
                }
            }
        }
        self.state = State::Finished;
        GroupCommand::Finish(end)
    }

    /// Puts off the restart that is under way.
    fn delay(&mut self, until: Instant) {
        if let State::Lowering { due, .. } | State::Lowered { due, .. } = &mut self.state {
            *due = until.max(*due);
        }
    }

    fn is_next(&self, child: usize) -> bool {
        matches!(self.state, State::Up { next } if next == child)
    }

    /// A child that there is not counts as ended.
    fn child(&self, child: usize) -> Child {
        self.children
            .get(child)
            .map_or(Child::Ended, |(_, state)| *state)
    }

    fn rules(&self, child: usize) -> ChildRules {
        self.children
            .get(child)
            .map_or_else(ChildRules::default, |(rules, _)| *rules)
    }

    fn set(&mut self, child: usize, to: Child) {
        if let Some((_, state)) = self.children.get_mut(child) {
            *state = to;
        }
    }
}
