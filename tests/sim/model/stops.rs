//! Who may be told to stop, or to end a run, and until when it has to.

use super::Model;
use super::delay::tick;
use super::life::Life;
use crate::script::ms;
use crate::trace::At;

impl Model<'_> {
    /// Whether there is a reason for this service to stop for good, now.
    pub(super) fn may_stop(&self, id: u64) -> bool {
        let Some(life) = self.lives.get(&id) else {
            return false;
        };
        if life.stop_asked.is_some() {
            return true;
        }
        let is_late = self.latest().is_some_and(|latest| latest <= self.now);
        match life.parent {
            None => self.root.shutdown.is_some() && (is_late || self.is_last_of_its_own(id)),
            Some((parent, place)) => {
                self.is_forced(parent)
                    || self.never_began(parent)
                    || (self.may_end(parent) && self.later_are_over(parent, place))
                    || (life.is_temporary() && self.may_be_lowered(id))
            }
        }
    }

    /// Whether a group may stop its children: it is to end, or has decided to.
    fn may_end(&self, id: u64) -> bool {
        let Some(life) = self.lives.get(&id) else {
            return false;
        };
        life.family.is_ending() || life.told_at().is_some() || self.may_be_lowered(id)
    }

    /// Whether a group has ended before any in it could begin: then there is nothing to stop in order.
    fn never_began(&self, id: u64) -> bool {
        let Some(life) = self.lives.get(&id).filter(|life| !life.has_begun) else {
            return false;
        };
        let parent = life.parent.map(|(parent, _)| parent);
        life.is_over() || parent.is_some_and(|parent| self.never_began(parent))
    }

    /// Whether all grace of this group is over, so that everybody in it goes at once.
    fn is_forced(&self, id: u64) -> bool {
        let Some(life) = self.lives.get(&id) else {
            return false;
        };
        self.abort_at(life).is_some_and(|at| at <= self.now)
    }

    /// Whether there is a reason for this child's run to end for its siblings' sake: they come down, and those after it
    /// are down.
    pub(super) fn may_be_lowered(&self, id: u64) -> bool {
        let parent = self.lives.get(&id).and_then(|life| life.parent);
        let Some((parent, place)) = parent else {
            return false;
        };
        let group = self.lives.get(&parent);
        group.is_some_and(|it| it.family.lowers(place)) && self.later_are_down(parent, place)
    }

    /// Whether there is a reason for its run to end, though it goes on.
    pub(super) fn may_be_halted(&self, id: u64) -> bool {
        let run = self.lives.get(&id).and_then(|life| life.present.as_ref());
        run.is_some_and(|run| run.told.is_some()) || self.may_be_lowered(id)
    }

    /// When its run is dropped if it does not end, as far as that is known.
    pub(super) fn abort_at(&self, life: &Life<'_>) -> Option<At> {
        let timeout = ms(self.history.fleet.shutdown_timeout);
        let told = life.told_at();
        let is_told = told.is_some() || self.may_be_lowered(life.id);
        let own = is_told
            .then(|| life.grace(timeout))
            .flatten()
            .map(|grace| tick(told.unwrap_or(self.now) + grace));
        let parent = life.parent.and_then(|(parent, _)| self.lives.get(&parent));
        let parents = parent.and_then(|parent| self.abort_at(parent));
        let all = [own, self.latest(), parents];
        all.into_iter().flatten().min()
    }
}
