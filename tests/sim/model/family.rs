//! The children of a group's run, and what is under way among them.

use super::delay::count;
use crate::script::ms;
use crate::trace::At;

#[derive(Debug, Default)]
pub(crate) struct Family {
    /// By their places.
    pub(crate) children: Vec<u64>,
    state: State,
    /// What it was earlier in this very moment: the group may not have heard of the latest when it acted.
    earlier: Vec<State>,
    /// When a child was to be restarted.
    restarts: Vec<At>,
    /// A child that matters has failed for good.
    pub(crate) is_lost: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// All before this one have had their turn.
    Raising(usize),
    /// All from this one on come down, and start again when that is done and this time has come.
    Lowering(usize, At),
    Ending(Cause),
}

/// Why a group ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// It is told to.
    Told,
    IntensityExceeded,
    ChildLost,
    Done,
    DoneWithFailure,
}

impl Default for State {
    fn default() -> Self {
        Self::Raising(0)
    }
}

impl Family {
    pub(crate) const fn state(&self) -> State {
        self.state
    }

    pub(crate) fn enter(&mut self, state: State) {
        if self.state != state {
            self.earlier.push(self.state);
            self.state = state;
        }
    }

    /// Begins to end, unless it does already.
    pub(crate) fn end(&mut self, cause: Cause) {
        if !self.is_ending() {
            self.enter(State::Ending(cause));
        }
    }

    pub(crate) const fn is_ending(&self) -> bool {
        matches!(self.state, State::Ending(_))
    }

    /// What it is, and what it was in this moment.
    pub(crate) fn states(&self) -> impl Iterator<Item = State> {
        self.earlier.iter().copied().chain([self.state])
    }

    /// Why it ends, if it does.
    pub(crate) const fn cause(&self) -> Option<Cause> {
        match self.state {
            State::Ending(cause) => Some(cause),
            State::Raising(_) | State::Lowering(..) => None,
        }
    }

    /// The moment is over.
    pub(crate) fn rest(&mut self) {
        self.earlier.clear();
    }

    /// A child is to be restarted. Answers whether that is once too often.
    pub(crate) fn restart(&mut self, now: At, (most, within): (u32, u64)) -> bool {
        self.restarts.push(now);
        count(&self.restarts, now, ms(within)) > most
    }

    /// Whether this child is among those that come down.
    pub(crate) fn lowers(&self, place: usize) -> bool {
        self.states()
            .any(|state| matches!(state, State::Lowering(from, _) if from <= place))
    }
}
