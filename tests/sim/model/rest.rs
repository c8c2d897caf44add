//! The clock moves on: what should have happened by then has.

use super::delay::tick;
use super::family::{Cause, State};
use super::life::{Life, Present};
use super::{Model, Verdict};
use crate::script::ms;
use crate::trace::At;

impl Model<'_> {
    /// Nothing happens any more in this moment, nor until `next`.
    pub(super) fn rest(&mut self, next: At) -> Verdict {
        // Groups come before those in them.
        for id in self.alive.clone() {
            let checked = self.rest_of(id, next);
            checked.map_err(|why| {
                let path = self.lives.get(&id).map(|life| life.path.as_str());
                format!("{} (#{id}): {why}", path.unwrap_or_default())
            })?;
        }
        self.all_are_answered()?;
        if self.is_report_late() {
            return Err("all have ended, and nobody is told that the drain is over".to_owned());
        }
        if self.latest().is_some_and(|at| at < next) && !self.alive.is_empty() {
            return Err(format!("{} are left after the shutdown", self.alive.len()));
        }
        Ok(())
    }

    fn is_report_late(&self) -> bool {
        let is_reported = self.root.shutdown.is_none_or(|it| it.is_reported);
        self.root.has_waiters && self.alive.is_empty() && !is_reported
    }

    fn rest_of(&mut self, id: u64, next: At) -> Verdict {
        let life = self.life(id)?;
        if let Some(expected) = life.expected.first() {
            return Err(format!("{expected:?} is missing"));
        }
        if !life.is_stopping() {
            let is_own = life.parent.is_none();
            let is_shut_down = self.root.shutdown.is_some() && is_own && self.is_last(id);
            let is_asked = life.stop_asked.is_some();
            if is_asked || is_shut_down {
                return Err("it is to stop, and does not".to_owned());
            }
        }
        match &life.present {
            Some(run) => self.rest_of_run(life, run, next)?,
            None => self.rest_of_wait(id, next)?,
        }
        if self.life(id)?.is_group() {
            self.rest_of_group(id, next)?;
            self.life_mut(id)?.family.rest();
        }
        Ok(())
    }

    fn rest_of_run(&self, life: &Life<'_>, run: &Present, next: At) -> Verdict {
        let late = |what: &str, at: At| Err(format!("{what} was due at {at:?}"));
        if life.told_at().is_some() || life.is_stopping() {
            if let Some(at) = self.abort_at(life).filter(|at| *at < next) {
                return late("its abort", at);
            }
        }
        let Some(spec) = life.service() else {
            return Ok(());
        };
        if !run.called || !run.polled {
            return Err("its run has not begun".to_owned());
        }
        if run.ends.is_some() || !life.is_playing {
            return Err("its run is over, and nobody is told".to_owned());
        }
        if life.told_at().is_some() {
            return if run.knows || run.cancelled_itself {
                Ok(())
            } else {
                Err("it is to end, and its token is not cancelled".to_owned())
            };
        }
        let Some(running) = run.running else {
            if run.said_ready {
                return Err("it is ready, and is not running".to_owned());
            }
            let timeout = spec.start_timeout.map(|timeout| run.began + ms(timeout));
            return match timeout.filter(|at| *at < next) {
                Some(at) => late("its start timeout", at),
                None => Ok(()),
            };
        };
        if let Some(at) = spec.watchdog.map(|period| run.alive + ms(period)) {
            if at < next {
                return late("its watchdog", at);
            }
        }
        let cooled = running + ms(life.backoff().cooldown);
        if life.failures.has_any() && cooled < next {
            return late("its recovery", cooled);
        }
        Ok(())
    }

    /// One that is not running: begins it, if it is a group of which nothing has been seen.
    fn rest_of_wait(&mut self, id: u64, next: At) -> Verdict {
        let life = self.life(id)?;
        if life.is_stopping() && life.is_unseen() {
            return self.begin(id);
        }
        if life.is_stopping() {
            return Err("it is to stop, and has nothing to wait for".to_owned());
        }
        let is_free = match life.parent {
            Some((parent, _)) => {
                let group = self.life(parent)?;
                let is_to_end = group.family.is_ending() || group.told_at().is_some();
                life.permitted.is_some() && !is_to_end
            }
            None if life.has_begun => true,
            None => self.has_waited(life),
        };
        let is_hurried = life.restart_asked.is_some() && life.has_begun;
        let due = life.due.filter(|_| !is_hurried).map_or(self.now, tick);
        if !is_free || due.max(self.now) >= next {
            return Ok(());
        }
        if life.is_group() && !life.has_begun {
            return self.begin(id);
        }
        Err(format!("its next run was due at {due:?}"))
    }

    /// Whether all that it starts after have been up since, or are over. Where another has taken the name of one of
    /// them, the design does not say whether that one is waited for, too, so it may be.
    fn has_waited(&self, life: &Life<'_>) -> bool {
        life.after.iter().all(|on| {
            let other = self.lives.get(&on.id);
            let is_up = |other: &Life<'_>| other.is_over() || other.ups > on.ups;
            let latest = other.and_then(|other| self.by_path.get(&other.path));
            let latest = latest.filter(|latest| **latest != on.id);
            let latest = latest.and_then(|latest| self.lives.get(latest));
            let is_replaced = latest.is_some_and(|latest| !latest.is_over() && latest.ups == 0);
            !is_replaced && (on.was_up || other.is_none_or(is_up))
        })
    }

    fn rest_of_group(&mut self, id: u64, next: At) -> Verdict {
        let life = self.life(id)?;
        if life.present.is_none() {
            return Ok(());
        }
        let children = life.family.children.clone();
        if life.is_stopping() || life.told_at().is_some() || life.family.is_ending() {
            return self.rest_of_ending(&children);
        }
        match life.family.state() {
            State::Raising(place) if place >= children.len() => match &life.present {
                Some(run) if run.running.is_none() => {
                    Err("all in it have had their turn, and it is not running".to_owned())
                }
                _ => Ok(()),
            },
            State::Lowering(from, due) => self.rest_of_lowering(id, &children, from, due, next),
            State::Raising(_) | State::Ending(_) => Ok(()),
        }
    }

    /// The last one that is left stops.
    fn rest_of_ending(&self, children: &[u64]) -> Verdict {
        for child in children.iter().rev() {
            let child = self.life(*child)?;
            if child.is_over() {
                continue;
            }
            if child.is_stopping() {
                return Ok(());
            }
            return Err(format!("it is to end, and {} is not stopping", child.path));
        }
        Err("all in it have ended, and it has not".to_owned())
    }

    /// The last one that is up is told to end its run; when none is, the first begins.
    fn rest_of_lowering(
        &mut self,
        id: u64,
        children: &[u64],
        from: usize,
        due: At,
        next: At,
    ) -> Verdict {
        let now = self.now;
        for child in children.iter().skip(from).rev() {
            let child = self.life_mut(*child)?;
            if child.is_over() {
                continue;
            }
            if child.is_stopping() {
                return Ok(());
            }
            let is_temporary = child.is_temporary();
            let Some(run) = &mut child.present else {
                continue;
            };
            if is_temporary {
                return Err(format!("{} is to end, and does not", child.path));
            }
            if run.told.is_none() {
                run.told = Some(now);
                child.family.end(Cause::Told);
            }
            return Ok(());
        }
        let mut left = children.iter().skip(from);
        if left.any(|child| self.lives.get(child).is_some_and(Life::is_down)) {
            return if tick(due).max(now) < next {
                Err(format!("all are down, and were to begin again at {due:?}"))
            } else {
                Ok(())
            };
        }
        if due <= now {
            let all = children.len();
            self.life_mut(id)?.family.enter(State::Raising(all));
        }
        Ok(())
    }

    /// The history is over.
    pub(super) fn over(&mut self) -> Verdict {
        self.rest(At::MAX)?;
        if !self.alive.is_empty() || !self.asked.is_empty() {
            return Err(format!("left are {:?} and {:?}", self.alive, self.asked));
        }
        Ok(())
    }
}
