//! Whether another run may begin: what a group allows, and what somebody wants at once.
//!
//! This is invariant 6 of the service's machine.

use super::protocol::Permit;

/// The permits of one service.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gate {
    permit: Permit,
    /// The permit of the last run that began; 0 if none did, or if none is needed.
    used: u32,
    /// Somebody wants the next run at once, whatever is left of the backoff.
    at_once: bool,
}

impl Gate {
    /// For a service that needs no permit.
    pub(super) const fn open() -> Self {
        Self {
            permit: Permit::OPEN,
            used: 0,
            at_once: false,
        }
    }

    /// For one that does.
    pub(super) fn closed() -> Self {
        Self {
            permit: Permit::default(),
            ..Self::open()
        }
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
    }

    /// The next run is wanted at once.
    pub(super) const fn hurry(&mut self) {
        self.at_once = true;
    }

    pub(super) const fn is_at_once(&self) -> bool {
        self.at_once
    }
}
