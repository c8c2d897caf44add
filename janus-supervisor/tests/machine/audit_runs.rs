//! What an auditor knows of runs that have to show something, and of restarts by hand.

use super::audit::{Audited, Known};
use super::{In, ms};
use janus_supervisor::machine::Readiness;
use std::time::Instant;

impl Audited {
    /// What the run in progress has to show, and until when.
    pub(super) fn is_checked(&mut self, input: In) -> Result<(), String> {
        let checks = self.machine.checks();
        let alive = match (self.known, input) {
            (Known::Up, In::BeatAgo(before)) => Some(self.now - ms(before)),
            (Known::Up, In::Beat | In::BeatAhead(_)) => Some(self.now),
            (Known::Up, In::Ready) if self.check_at.is_none() => Some(self.now),
            _ => None,
        };
        // What has been overtaken does not count.
        let alive_until = alive.zip(checks.watchdog).map(|(at, within)| at + within);
        self.check_at = match self.known {
            Known::Starting => self.check_at,
            Known::Up => self.check_at.max(alive_until),
            _ => None,
        };
        let deadline = self.machine.deadline();
        let right = match self.known {
            Known::Starting => deadline == self.check_at,
            // Perhaps the cooldown comes first.
            Known::Up if self.to_forget => deadline.is_some() && self.due_by(self.check_at),
            Known::Up => deadline == self.check_at,
            Known::Failing => deadline.is_none(),
            _ => true,
        };
        if !right {
            return Err(format!("5: {deadline:?}, not {:?}", self.check_at));
        }
        if input == In::Tick && self.known != Known::Waiting && self.due() {
            return Err("5: the same is due again".into());
        }
        Ok(())
    }

    fn due_by(&self, at: Option<Instant>) -> bool {
        at.is_none_or(|at| self.machine.deadline().is_some_and(|due| due <= at))
    }

    /// After a restart by hand or a halt nothing is left to wait for but a permit.
    pub(super) fn is_restarted(&self, was: Known, input: In) -> Result<(), String> {
        let acts = matches!(was, Known::Starting | Known::Up | Known::Waiting);
        if input == In::Restart && acts {
            let asked = matches!(self.known, Known::Halting | Known::DroppedHalting);
            let waits = self.known == Known::Waiting && self.may_begin();
            if waits || asked == (was == Known::Waiting) {
                return Err(format!("restarted, and {:?}", self.known));
            }
            if self.to_forget || self.machine.lifecycle().attempt() > 0 {
                return Err("restarted, and nothing is forgotten".into());
            }
        }
        let waits = self.known == Known::Waiting && self.may_begin() && !self.due();
        if was.is_halting() && waits {
            return Err("halted, and the next run does not begin at once".into());
        }
        Ok(())
    }

    /// Where it stands when a run has begun.
    pub(super) fn running(&self) -> Known {
        match self.machine.checks().readiness {
            Readiness::Immediate => Known::Up,
            Readiness::Notify => Known::Starting,
        }
    }

    /// What it has to show in a run that begins now.
    pub(super) fn first_check(&self) -> Option<Instant> {
        let checks = self.machine.checks();
        let within = match checks.readiness {
            Readiness::Immediate => checks.watchdog,
            Readiness::Notify => checks.start_timeout,
        };
        within.map(|within| self.now + within)
    }
}
