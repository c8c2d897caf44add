//! What a service has of the supervisor's limit on starts.

use super::{Next, Task};
use crate::clock;
use crate::machine::{Input, Ticket, Turn};
use std::time::Instant;

/// What it has, if anything.
pub(super) enum Held {
    Nothing,
    /// A turn that it waits for.
    Turn(Instant),
    /// A place among those that start, or in the queue for one.
    Place(Ticket),
}

impl Task {
    /// Asks the supervisor's limit whether a run may begin.
    pub(in crate::driver) fn ask(&mut self, spread: bool) -> Next {
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

    /// Lets others have what this service does not need any more of the supervisor's limit.
    pub(super) fn release_place(&mut self) {
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
}
