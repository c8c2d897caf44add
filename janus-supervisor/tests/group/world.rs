//! The children of a group as they might be, and what becomes of them.
//!
//! It knows the inputs and the answers, and nothing of the machine's insides. A report is made when it arrives: a child
//! counts as running until its group has heard otherwise. So a child that was told to halt can still be heard to have
//! failed, or completed, just before; and what it reports in the very end, at any later moment.

use super::{In, give, ms};
use In::{Completed, Down, Failed, Halted, Ready, Start, Stop, Stopped, Tick};
use janus_supervisor::machine::{
    AutoShutdown, ChildRules, GroupCommand, GroupEnd, GroupMachine, Intensity, Strategy,
};
use std::time::{Duration, Instant};

/// The most children of a group here.
const MOST: usize = 4;

/// What kind of group it is.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) strategy: Strategy,
    pub(crate) auto_shutdown: AutoShutdown,
    /// In a window that covers everything.
    pub(crate) max_restarts: u32,
    pub(crate) children: Vec<ChildRules>,
    /// An operator restarts the children, too.
    pub(crate) by_hand: bool,
}

impl Plan {
    pub(crate) fn machine(&self) -> GroupMachine {
        GroupMachine::new(
            self.strategy,
            Intensity::new(self.max_restarts, Duration::from_secs(1_000)),
            self.auto_shutdown,
            self.children.iter().copied(),
        )
    }

    pub(crate) fn is_temporary(&self, child: usize) -> bool {
        self.children[child].temporary
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) enum Stand {
    #[default]
    Down,
    Starting,
    Up,
    Halting,
    Stopping,
    Ended,
}

#[derive(Debug, Clone, Copy, Hash, Default)]
pub(crate) struct Child {
    pub(crate) stand: Stand,
    /// At least once.
    pub(crate) been_ready: bool,
    /// It runs, and is to come down for a restart.
    pub(crate) old: bool,
    /// It was up, and an operator has restarted it: nobody waits for it.
    pub(crate) by_hand: bool,
}

impl Child {
    pub(crate) fn runs(self) -> bool {
        !matches!(self.stand, Stand::Down | Stand::Ended)
    }
}

#[derive(Debug, Clone, Copy, Hash, Default)]
pub(crate) struct Restart {
    pub(crate) from: usize,
    pub(crate) due: u64,
}

/// One group's children, and what is known of the group from its answers alone.
#[derive(Debug, Clone, Hash, Default)]
pub(crate) struct World {
    /// In milliseconds from the beginning.
    pub(crate) now: u64,
    pub(crate) children: [Child; MOST],
    pub(crate) begun: bool,
    /// Until its first child is started again.
    pub(crate) restart: Option<Restart>,
    /// How many restarts there have been, for each of which somebody has failed.
    counted: u32,
    /// The first child that has failed for good, of those that matter.
    lost: Option<usize>,
    /// Why it has to end.
    pub(crate) ending: Option<GroupEnd>,
    pub(crate) finished: bool,
}

impl World {
    pub(crate) fn children(&self, plan: &Plan) -> &[Child] {
        &self.children[..plan.children.len()]
    }

    pub(crate) fn is_over(&self) -> bool {
        self.finished
    }

    /// Everything that may happen next.
    pub(crate) fn inputs(&self, plan: &Plan, machine: &GroupMachine) -> Vec<In> {
        let mut inputs = Vec::new();
        if !self.begun && !self.finished {
            inputs.push(Start);
        }
        if self.ending.is_none() {
            inputs.push(Stop);
        }
        if machine.deadline().is_some() {
            inputs.push(Tick);
        }
        for (i, child) in self.children(plan).iter().enumerate() {
            let by_itself = [Completed(i), Failed(i)];
            let again = [Down(i, 0), Down(i, 1)].into_iter();
            let again = again.filter(|_| !plan.is_temporary(i));
            match child.stand {
                // An operator may stop anybody.
                Stand::Down => inputs.push(Stopped(i)),
                Stand::Starting | Stand::Up | Stand::Halting => {
                    if child.stand == Stand::Starting {
                        inputs.push(Ready(i));
                    }
                    // As it was told, or restarted by an operator.
                    let by_hand = plan.by_hand && self.ending.is_none();
                    if child.stand == Stand::Halting || by_hand {
                        inputs.push(Halted(i));
                    }
                    inputs.push(Stopped(i));
                    inputs.extend(by_itself);
                    inputs.extend(again);
                }
                Stand::Stopping => inputs.extend([Stopped(i), Completed(i), Failed(i)]),
                Stand::Ended => {}
            }
        }
        inputs
    }

    /// What comes next if nothing fails any more.
    pub(crate) fn smooth(&self, plan: &Plan, machine: &GroupMachine) -> Option<In> {
        let answer = |(i, child): (usize, &Child)| match child.stand {
            Stand::Starting => Some(Ready(i)),
            Stand::Halting => Some(Halted(i)),
            Stand::Stopping => Some(Stopped(i)),
            Stand::Down | Stand::Up | Stand::Ended => None,
        };
        let start = (!self.begun && !self.finished && self.ending.is_none()).then_some(Start);
        let mut answers = self.children(plan).iter().enumerate().filter_map(answer);
        let answered = start.or_else(|| answers.next_back());
        answered.or_else(|| machine.deadline().map(|_| Tick))
    }

    /// Inputs that are late, early, repeated or stale.
    pub(crate) fn stale(&self, plan: &Plan, machine: &GroupMachine) -> Vec<In> {
        let stranger = plan.children.len();
        let mut inputs = vec![Ready(stranger), Down(stranger, 0), Halted(stranger)];
        inputs.extend([Completed(stranger), Failed(stranger), Stopped(stranger)]);
        if self.begun || self.finished {
            inputs.push(Start);
        }
        if self.finished {
            inputs.push(Stop);
        }
        // Before the deadline.
        if machine.deadline().is_some() || self.begun {
            inputs.push(Tick);
        }
        for (i, child) in self.children(plan).iter().enumerate() {
            if child.stand != Stand::Starting {
                inputs.push(Ready(i));
            }
            if matches!(child.stand, Stand::Down | Stand::Stopping | Stand::Ended) {
                inputs.extend([Down(i, 0), Down(i, 1)]);
            }
            let is_news = child.runs() && self.ending.is_none() || child.stand == Stand::Halting;
            if !is_news || child.stand == Stand::Stopping {
                inputs.push(Halted(i));
            }
            if child.stand == Stand::Ended {
                inputs.extend([Completed(i), Failed(i), Stopped(i)]);
            }
        }
        inputs
    }

    pub(crate) fn instant(&self, t0: Instant) -> Instant {
        t0 + ms(self.now)
    }

    /// Whether time has passed that the group has not been told of.
    pub(crate) fn is_overdue(&self, t0: Instant, machine: &GroupMachine) -> bool {
        machine.deadline().is_some_and(|at| at <= self.instant(t0))
    }

    /// Lets time pass until something is due. Answers whether any did.
    pub(crate) fn wait(&mut self, t0: Instant, machine: &GroupMachine) -> bool {
        let due = machine.deadline().unwrap_or(t0);
        let later = u64::try_from(due.duration_since(t0).as_millis()).unwrap_or(u64::MAX);
        let passes = later > self.now;
        self.now = self.now.max(later);
        passes
    }

    /// Gives the machine one input, and looks at the answer.
    pub(crate) fn take(
        &mut self,
        plan: &Plan,
        t0: Instant,
        machine: &mut GroupMachine,
        input: In,
    ) -> Result<(), String> {
        if input == Tick {
            self.wait(t0, machine);
        }
        let command = give(machine, self.instant(t0), input);
        let beside = self.beside(input);
        self.happen(plan, input);
        let audited = match beside {
            Some(expected) if command == expected => {
                if let GroupCommand::Start(child) = command {
                    self.children[child].stand = Stand::Starting;
                }
                Ok(())
            }
            Some(_) => Err("not only the child's own business"),
            None => self.obey(plan, input, command),
        };
        audited.map_err(|wrong| format!("{wrong}: {command:?}"))?;
        let is_lowered = !self.children(plan).iter().any(|child| child.old);
        let due = self.restart.map(|restart| restart.due);
        // What is due is not told of by the way.
        let is_left = |due: &u64| *due > self.now || beside.is_some();
        let waiting = due.filter(|due| is_lowered && self.ending.is_none() && is_left(due));
        if is_lowered && waiting.is_none() {
            self.restart = None;
        }
        if machine.deadline() == waiting.map(|due| t0 + ms(due)) {
            Ok(())
        } else {
            Err(format!(
                "the deadline is {waiting:?} and not {:?}",
                machine.deadline()
            ))
        }
    }

    /// What comes of an input that is the business of one child alone: an operator restarts it, or it becomes ready
    /// beside a restart that does not concern it.
    fn beside(&self, input: In) -> Option<GroupCommand> {
        let is_spared = |child: usize| {
            let restart = self.restart;
            restart.is_some_and(|restart| child < restart.from)
        };
        match input {
            Halted(child) => {
                let it = self.children[child];
                let by_hand = matches!(it.stand, Stand::Starting | Stand::Up) && !it.old;
                by_hand.then_some(GroupCommand::Start(child))
            }
            Ready(child) if is_spared(child) => Some(GroupCommand::Wait),
            _ => None,
        }
    }

    /// What the input means, by the book.
    fn happen(&mut self, plan: &Plan, input: In) {
        match input {
            Start => self.begun = true,
            Ready(child) => {
                self.children[child].stand = Stand::Up;
                self.children[child].been_ready = true;
                self.children[child].by_hand = false;
            }
            Halted(child) => self.halted(plan, child),
            Down(child, delay) => self.down(plan, child, self.now + delay),
            Completed(child) | Failed(child) | Stopped(child) => self.ended(plan, child, input),
            Stop => self.end(GroupEnd::Stopped),
            Tick => {}
        }
    }

    pub(crate) fn leave(&mut self, child: usize, to: Stand) {
        self.children[child].stand = to;
        self.children[child].old = false;
        self.children[child].by_hand = false;
    }

    fn halted(&mut self, plan: &Plan, child: usize) {
        let before = self.children[child];
        self.leave(child, Stand::Down);
        let it = &mut self.children[child];
        it.by_hand = !before.old && (before.by_hand || before.stand == Stand::Up);
        // It comes up with its siblings, as in the beginning.
        it.been_ready = before.been_ready && !(before.old && plan.is_temporary(child));
    }

    fn end(&mut self, end: GroupEnd) {
        self.ending.get_or_insert(end);
    }

    fn down(&mut self, plan: &Plan, child: usize, due: u64) {
        self.leave(child, Stand::Down);
        if self.ending.is_some() {
            return;
        }
        let earlier = self.restart.unwrap_or(Restart {
            from: MOST,
            due: self.now,
        });
        let due = due.max(earlier.due);
        let from = match plan.strategy {
            Strategy::OneForAll => 0,
            Strategy::OneForOne | Strategy::RestForOne => child,
        };
        if child >= earlier.from {
            self.restart = Some(Restart { due, ..earlier });
            return;
        }
        self.counted += 1;
        if self.counted > plan.max_restarts {
            self.end(GroupEnd::IntensityExceeded(child));
        } else if plan.strategy != Strategy::OneForOne {
            self.restart = Some(Restart { from, due });
            for child in &mut self.children[from..] {
                child.old = child.runs();
            }
        }
    }

    fn ended(&mut self, plan: &Plan, child: usize, input: In) {
        let Child {
            stand, been_ready, ..
        } = self.children[child];
        self.leave(child, Stand::Ended);
        let rules = plan.children[child];
        let was_told = stand == Stand::Stopping || input == Stopped(child);
        let failed = !was_told && input == Failed(child);
        let left = |who: fn(&ChildRules) -> bool| {
            let mut all = plan.children.iter().zip(&self.children);
            all.any(|(rules, child)| who(rules) && child.stand != Stand::Ended)
        };
        let last_straw = rules.significant && !was_told;
        let done = match plan.auto_shutdown {
            AutoShutdown::Never => false,
            AutoShutdown::AnySignificant => last_straw,
            AutoShutdown::AllSignificant => last_straw && !left(|rules| rules.significant),
            AutoShutdown::AllTerminated => !left(|_| true),
        };
        let matters = rules.significant || plan.auto_shutdown == AutoShutdown::AllTerminated;
        if failed && matters {
            self.lost.get_or_insert(child);
        }
        let is_first_start = stand == Stand::Starting && !been_ready;
        let is_needed = plan.strategy != Strategy::OneForOne && !rules.temporary;
        if done {
            self.end(match self.lost {
                Some(lost) => GroupEnd::DoneWithFailure(lost),
                None => GroupEnd::Done,
            });
        } else if failed && (is_needed || is_first_start) {
            self.end(GroupEnd::ChildLost(child));
        }
    }
}
