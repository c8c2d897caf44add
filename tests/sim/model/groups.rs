//! Who in a group may begin, and what the ends of its children mean to it.

use super::delay::tick;
use super::family::{Cause, State};
use super::life::{Ending, Life, Present};
use super::root::is_done;
use super::{Model, Verdict};
use crate::script::{GroupSpec, Node};
use janus_supervisor::{AutoShutdown, Strategy};

impl<'h> Model<'h> {
    /// A run begins: it has to be allowed to.
    pub(super) fn begin(&mut self, id: u64) -> Verdict {
        let now = self.now;
        let life = self.life(id)?;
        // That a group has begun is seen only when a child does, and in between it may have been asked to stop.
        let is_unseen = life.is_group() && !life.has_begun;
        let asked = life.stopping_at.or(life.stop_asked);
        if life.is_over() || asked.is_some_and(|at| !is_unseen || at < now) {
            return Err("a run begins after a stop".to_owned());
        }
        if life.present.is_some() {
            return Err("a run begins while another is in progress".to_owned());
        }
        let is_first = !life.has_begun;
        match life.parent {
            None if is_first => self.may_begin_first(id)?,
            None => {}
            Some((parent, place)) => self.may_begin_in(parent, place, id)?,
        }
        let life = self.life_mut(id)?;
        if life.due.is_some_and(|due| due > now) && life.restart_asked.is_none() {
            return Err(format!("it begins before {:?}", life.due));
        }
        life.present = Some(Present::new(now));
        life.has_begun = true;
        (life.due, life.permitted, life.restart_asked) = (None, None, None);
        if life.is_group() {
            let state = life.family.state();
            self.raise(id, 0)?;
            if let State::Ending(cause) = state {
                self.life_mut(id)?.family.end(cause);
            }
        }
        if asked.is_some() {
            self.life_mut(id)?.family.end(Cause::Told);
        }
        Ok(())
    }

    /// One of the supervisor's own begins its first run.
    fn may_begin_first(&self, id: u64) -> Verdict {
        for on in &self.life(id)?.after {
            let other = self.life(on.id)?;
            let is_up = on.was_up || on.is_unclear || other.ups > 0 || other.is_over();
            if !is_up {
                return Err(format!("it begins before {}", other.path));
            }
        }
        Ok(())
    }

    fn may_begin_in(&mut self, parent: u64, place: usize, id: u64) -> Verdict {
        let group = self.life(parent)?;
        if group.present.is_none() {
            // The first that is seen of the group's first run.
            if group.has_begun {
                return Err("it begins, and its group is not running".to_owned());
            }
            self.begin(parent)?;
        }
        let life = self.life(id)?;
        if life.permitted.is_some() || life.revoked_at == Some(self.now) {
            return Ok(());
        }
        let states: Vec<_> = self.life(parent)?.family.states().collect();
        for state in states.into_iter().rev() {
            let State::Lowering(from, due) = state else {
                continue;
            };
            if place >= from && tick(due) <= self.now && self.is_next_from(parent, from, place)? {
                let family = &mut self.life_mut(parent)?.family;
                if family.state() == state {
                    family.enter(State::Raising(place));
                }
                return Ok(());
            }
        }
        Err("it begins, and its group does not let it".to_owned())
    }

    /// Whether all from there on are down, and this is the first that can start.
    fn is_next_from(&self, parent: u64, from: usize, place: usize) -> Result<bool, String> {
        let children = &self.life(parent)?.family.children;
        for (at, child) in children.iter().enumerate().skip(from) {
            let child = self.life(*child)?;
            let is_well = child.is_over() || (at >= place && child.is_down());
            if !is_well {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether a restart of children has come to its time, and none of them is left.
    pub(super) fn is_empty(&self, parent: u64) -> bool {
        let Some(group) = self.lives.get(&parent) else {
            return false;
        };
        let State::Lowering(from, due) = group.family.state() else {
            return false;
        };
        let mut left = group.family.children.iter().skip(from);
        tick(due) <= self.now && left.all(|child| self.lives.get(child).is_none_or(Life::is_over))
    }

    /// Lets the first one from there on begin that can.
    pub(super) fn raise(&mut self, parent: u64, from: usize) -> Verdict {
        let now = self.now;
        let children = self.life(parent)?.family.children.clone();
        let mut next = children.len();
        for (place, child) in children.iter().enumerate().skip(from) {
            let child = self.life_mut(*child)?;
            if child.is_down() && child.permitted.is_none() {
                child.permitted = Some(now);
                next = place;
                break;
            }
        }
        self.life_mut(parent)?.family.enter(State::Raising(next));
        Ok(())
    }

    /// It is ready: whoever waits for it has its turn.
    pub(super) fn is_up(&mut self, id: u64) -> Verdict {
        let life = self.life_mut(id)?;
        life.ups += 1;
        match life.parent {
            Some((parent, place)) => self.has_had_its_turn(parent, place),
            None => Ok(()),
        }
    }

    fn has_had_its_turn(&mut self, parent: u64, place: usize) -> Verdict {
        let group = self.life(parent)?;
        match group.family.state() {
            State::Raising(next) if next == place && group.present.is_some() => {
                self.raise(parent, place + 1)
            }
            _ => Ok(()),
        }
    }

    /// A child has ended a run by itself, and is to run again.
    pub(super) fn is_down(&mut self, parent: u64, place: usize) -> Verdict {
        let now = self.now;
        let group = self.life(parent)?;
        if group.stop_asked.is_some() || group.told_at().is_some() {
            return Ok(());
        }
        let spec = self.group_of(parent)?;
        let due = self.child(parent, place)?.due.unwrap_or(now);
        let family = &mut self.life_mut(parent)?.family;
        let state = family.state();
        let earlier = match state {
            State::Ending(_) => return Ok(()),
            State::Lowering(from, until) if place >= from => {
                // The restart that is under way is its restart, too.
                family.enter(State::Lowering(from, until.max(due)));
                return Ok(());
            }
            State::Lowering(_, until) => until,
            State::Raising(_) => due,
        };
        if family.restart(now, spec.intensity) {
            family.end(Cause::IntensityExceeded);
            return Ok(());
        }
        let from = match spec.strategy {
            Strategy::OneForOne => {
                let child = family.children[place];
                self.life_mut(child)?.permitted = Some(now);
                return Ok(());
            }
            Strategy::OneForAll => 0,
            Strategy::RestForOne => place,
        };
        family.enter(State::Lowering(from, due.max(earlier)));
        let lowered: Vec<u64> = family.children.iter().skip(from).copied().collect();
        for child in lowered {
            self.life_mut(child)?.revoke(now);
        }
        Ok(())
    }

    /// A child's run is gone, and it was told to end it.
    pub(super) fn is_halted(&mut self, parent: u64, place: usize) -> Verdict {
        let now = self.now;
        let family = &self.life(parent)?.family;
        match family.state() {
            State::Lowering(from, _) if from <= place => {}
            State::Ending(_) => {}
            _ => {
                let child = family.children[place];
                self.life_mut(child)?.permitted = Some(now);
            }
        }
        Ok(())
    }

    /// A child has ended for good.
    pub(super) fn loses(&mut self, parent: u64, place: usize, ending: Ending) -> Verdict {
        let spec = self.group_of(parent)?;
        let is_temporary = self.child(parent, place)?.is_temporary();
        let is_lowered =
            matches!(self.life(parent)?.family.state(), State::Lowering(from, _) if from <= place);
        let ending = if is_temporary && is_lowered && self.later_are_down(parent, place) {
            // It was told to stop, so it has not ended by itself, however it looks.
            Ending::Cancelled
        } else {
            ending
        };
        let (mut all, mut significant) = (0, 0);
        for child in &self.life(parent)?.family.children {
            let child = self.life(*child)?;
            if !child.is_over() {
                all += 1;
                significant += usize::from(child.node.common().significant);
            }
        }
        let child = self.child(parent, place)?;
        let is_significant = child.node.common().significant;
        let is_needed = spec.strategy != Strategy::OneForOne && !child.is_temporary();
        let rule = spec.auto_shutdown;
        let matters = is_significant || rule == AutoShutdown::AllTerminated;
        let family = &mut self.life_mut(parent)?.family;
        family.is_lost |= matters && ending.is_failure();
        let is_starting = family.state() == State::Raising(place);
        if is_done(
            rule,
            is_significant,
            ending.is_by_itself(),
            all,
            significant,
        ) {
            family.end(if family.is_lost {
                Cause::DoneWithFailure
            } else {
                Cause::Done
            });
        } else if ending.is_failure() && (is_needed || is_starting) {
            family.end(Cause::ChildLost);
        }
        self.has_had_its_turn(parent, place)
    }

    pub(super) fn child(&self, parent: u64, place: usize) -> Result<&Life<'h>, String> {
        let child = self.life(parent)?.family.children.get(place);
        self.life(*child.ok_or("a group has no such child")?)
    }

    pub(super) fn group_of(&self, id: u64) -> Result<&'h GroupSpec, String> {
        match self.life(id)?.node {
            Node::Group(spec) => Ok(spec),
            Node::Service(_) => Err("it is no group".to_owned()),
        }
    }

    /// Whether all children after this place have come down or ended.
    pub(super) fn later_are_down(&self, parent: u64, place: usize) -> bool {
        self.later(parent, place, |life| life.present.is_none())
    }

    /// Whether all children after this place have ended.
    pub(super) fn later_are_over(&self, parent: u64, place: usize) -> bool {
        self.later(parent, place, Life::is_over)
    }

    fn later(&self, parent: u64, place: usize, is_well: impl Fn(&Life<'h>) -> bool) -> bool {
        let children = self.lives.get(&parent).map(|life| &life.family.children);
        let later = children.into_iter().flatten().skip(place + 1);
        later.filter_map(|child| self.lives.get(child)).all(is_well)
    }
}
