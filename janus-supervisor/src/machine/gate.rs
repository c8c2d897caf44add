//! Whether another run may begin: what a group allows, what somebody wants at once, and what the supervisor's limit
//! says.
//!
//! These are the invariants 6 and 7 of the service's machine.

use super::protocol::{Permit, Turn};
use std::time::Instant;

/// The permits of one service.
#[derive(Debug)]
pub(super) struct Gate {
    permit: Permit,
    /// The permit of the last run that began; 0 if none did, or if none is needed.
    used: u64,
    /// Somebody wants the next run at once, whatever is left of the backoff.
    at_once: bool,
    /// What the limit says, if there is one.
    turn: Option<Limited>,
}

/// What a limited service knows of its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Limited {
    /// Nothing: it has not asked.
    Unasked,
    Asked,
    /// It is to ask again then.
    PutOff(Instant),
    Granted,
}

impl Gate {
    /// For a service that needs no permit.
    pub(super) const fn open() -> Self {
        Self {
            permit: Permit::OPEN,
            used: 0,
            at_once: false,
            turn: None,
        }
    }

    /// From now on it has to ask before each run.
    pub(super) fn limit(&mut self) {
        self.turn = Some(Limited::Unasked);
    }

    /// From now on it needs one.
    pub(super) fn close(&mut self) {
        self.permit = Permit::default();
    }

    pub(super) const fn permit(&self) -> Permit {
        self.permit
    }

    /// Takes note of a permit. Both numbers only grow, so one that comes late changes nothing.
    pub(super) fn note(&mut self, permit: Permit) {
        if self.permit != Permit::OPEN {
            self.permit.go = self.permit.go.max(permit.go);
            self.permit.halt = self.permit.halt.max(permit.halt);
        }
        if !self.may_begin() {
            self.set_turn(Limited::Unasked);
        }
    }

    pub(super) const fn is_limited(&self) -> bool {
        self.turn.is_some()
    }

    /// Takes note of what the limit says. Returns whether it was asked: what comes unasked is stale, and changes
    /// nothing.
    pub(super) fn hear(&mut self, turn: Turn) -> bool {
        let is_asking = self.is_asking();
        if is_asking {
            self.set_turn(match turn {
                Turn::Go => Limited::Granted,
                Turn::At(at) => Limited::PutOff(at),
            });
        }
        is_asking
    }

    /// Whether it has asked, and waits for the answer.
    pub(super) fn is_asking(&self) -> bool {
        self.turn == Some(Limited::Asked)
    }

    /// Whether it has been told that it is its turn, and has not begun.
    pub(super) fn is_granted(&self) -> bool {
        self.turn == Some(Limited::Granted)
    }

    /// Until when it was put off.
    pub(super) fn put_off_until(&self) -> Option<Instant> {
        match self.turn {
            Some(Limited::PutOff(at)) => Some(at),
            _ => None,
        }
    }

    /// When a run may begin that is `due` otherwise, if time alone decides that.
    pub(super) fn due(&self, due: Instant) -> Option<Instant> {
        if !self.may_begin() || self.is_asking() {
            None
        } else if self.at_once {
            Some(due)
        } else {
            Some(self.put_off_until().map_or(due, |until| until.max(due)))
        }
    }

    /// A run that may begin otherwise asks the limit.
    pub(super) fn pass(&mut self, now: Instant, is_restart: bool) -> Pass {
        let spread = match self.turn {
            None | Some(Limited::Granted) => return Pass::Begin,
            Some(Limited::Asked) => return Pass::Wait,
            Some(Limited::PutOff(at)) if at > now && !self.at_once => return Pass::Wait,
            Some(Limited::PutOff(_)) => false,
            Some(Limited::Unasked) => is_restart && !self.at_once,
        };
        self.set_turn(Limited::Asked);
        Pass::Ask { spread }
    }

    /// The next run waits for no turn of its own.
    pub(super) fn skip_turn(&mut self, now: Instant) {
        self.set_turn(Limited::PutOff(now));
    }

    fn set_turn(&mut self, to: Limited) {
        if let Some(turn) = &mut self.turn {
            *turn = to;
        }
    }

    /// Whether there is a permit for another run.
    pub(super) const fn may_begin(&self) -> bool {
        self.permit.go > self.used && self.permit.go > self.permit.halt
    }

    /// Whether the run that began last is to end.
    pub(super) const fn halts_run(&self) -> bool {
        self.used > 0 && self.permit.halt >= self.used
    }

    /// A run begins.
    pub(super) fn begin(&mut self) {
        if self.permit != Permit::OPEN {
            self.used = self.permit.go;
        }
        self.at_once = false;
        self.set_turn(Limited::Unasked);
    }

    /// The next run is wanted at once.
    pub(super) const fn hurry(&mut self) {
        self.at_once = true;
    }

    pub(super) const fn is_at_once(&self) -> bool {
        self.at_once
    }
}

/// Whether a run that may begin otherwise does so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pass {
    Begin,
    Ask { spread: bool },
    Wait,
}
