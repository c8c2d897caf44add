//! What the supervisor is to its own services: where they are spawned, counted, and shut down.

use super::delay::{count, tick};
use super::life::{Dependency, Ending, Life};
use super::{Model, Verdict};
use crate::script::{Trigger, ms};
use crate::trace::{At, Spawned};
use janus_supervisor::{AutoShutdown, DrainReport, ServicePhase, ShutdownCause};

#[derive(Debug, Default)]
pub(crate) struct Root {
    pub(crate) shutdown: Option<Shutdown>,
    /// Somebody waits for the drain, and holds the supervisor.
    pub(crate) has_waiters: bool,
    restarts: Vec<At>,
    /// One that matters has failed for good.
    is_lost: bool,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Shutdown {
    pub(crate) at: At,
    cause: ShutdownCause,
    /// What began it in the same moment, before those who listen had heard of the first.
    other: Option<ShutdownCause>,
    /// Everybody was told in the moment it began.
    is_heard: bool,
    pub(crate) is_reported: bool,
}

impl From<Trigger> for ShutdownCause {
    fn from(trigger: Trigger) -> Self {
        match trigger {
            Trigger::Call | Trigger::Token => Self::Requested,
            Trigger::Drop => Self::Dropped,
        }
    }
}

impl<'h> Model<'h> {
    pub(super) fn begin_spawn(&mut self, tree: usize) -> Verdict {
        let trees = &self.history.trees;
        let node = trees.get(tree).ok_or("there is no such tree")?;
        let common = node.common();
        let registered = |name: &String| {
            let life = self.by_path.get(name).and_then(|id| self.lives.get(id));
            life.filter(|life| !life.is_removed)
        };
        let in_use = registered(&common.name).is_some_and(|life| !life.is_over());
        let mut possible = Vec::new();
        if self.root.shutdown.is_some() {
            possible.extend([Spawned::TooLate, Spawned::Nobody]);
        } else if common.after.iter().any(|name| registered(name).is_none()) {
            possible.push(Spawned::NoSuchDependency);
        } else {
            possible.push(if in_use {
                Spawned::NameInUse
            } else {
                Spawned::Done
            });
            if self.is_on_the_way_round(&common.name, &common.after) {
                possible = vec![Spawned::Cycle];
            }
        }
        self.spawning = Some((node, possible));
        Ok(())
    }

    /// Whether one of these starts, by way of others perhaps, after one of this name that has not been forgotten.
    fn is_on_the_way_round(&self, name: &str, after: &[String]) -> bool {
        let mut ahead: Vec<&String> = after.iter().collect();
        let mut seen = Vec::new();
        while let Some(next) = ahead.pop() {
            if next == name {
                return true;
            }
            if seen.contains(&next) {
                continue;
            }
            seen.push(next);
            let life = self.by_path.get(next).and_then(|id| self.lives.get(id));
            // One that has ended no longer waits for anybody.
            if let Some(life) = life.filter(|life| !life.is_over()) {
                ahead.extend(&life.node.common().after);
            }
        }
        false
    }

    pub(super) fn end_spawn(&mut self, spawned: &Spawned) -> Verdict {
        let (node, possible) = self.spawning.take().ok_or("nothing is being spawned")?;
        if !possible.contains(spawned) {
            return Err(format!(
                "the spawn came to {spawned:?}, and should have come to {possible:?}"
            ));
        }
        if *spawned == Spawned::Done {
            for path in node.paths() {
                let life = self.life(self.known_by(&path)?)?;
                if life.registered_at != self.now || life.is_removed {
                    return Err(format!("{path} was spawned, and is not registered"));
                }
            }
        }
        Ok(())
    }

    /// One of the supervisor's own was registered: those it starts after are known now.
    pub(super) fn note_dependencies(&self, life: &mut Life<'h>) {
        for name in &life.node.common().after {
            let other = self.by_path.get(name).and_then(|id| self.lives.get(id));
            if let Some(other) = other {
                let is_stopping = other.is_stopping() && !other.is_over();
                let is_unclear = is_stopping && other.ups == 0;
                life.after.push(Dependency {
                    id: other.id,
                    was_up: match other.phase {
                        ServicePhase::Running | ServicePhase::Terminated => true,
                        ServicePhase::Stopping => !is_unclear,
                        ServicePhase::Starting | ServicePhase::BackingOff => false,
                    },
                    is_unclear,
                    ups: other.ups,
                });
            }
        }
    }

    /// One of the supervisor's own is to be restarted.
    pub(super) fn restarts_one(&mut self) {
        let Some((most, within)) = self.history.fleet.intensity else {
            return;
        };
        self.root.restarts.push(self.now);
        if count(&self.root.restarts, self.now, ms(within)) > most {
            self.begin_shutdown(ShutdownCause::GaveUp, true);
        }
    }

    /// One of the supervisor's own has ended.
    pub(super) fn loses_one(&mut self, is_significant: bool, ending: Ending) {
        let rule = self.history.fleet.auto_shutdown;
        let own = self.alive.iter().filter_map(|id| self.lives.get(id));
        let own = own.filter(|life| life.parent.is_none());
        let (mut all, mut significant) = (0, 0);
        for life in own {
            all += 1;
            significant += usize::from(life.node.common().significant);
        }
        let matters = is_significant || rule == AutoShutdown::AllTerminated;
        self.root.is_lost |= matters && ending.is_failure();
        if is_done(
            rule,
            is_significant,
            ending.is_by_itself(),
            all,
            significant,
        ) {
            let cause = if self.root.is_lost {
                ShutdownCause::WorkFailed
            } else {
                ShutdownCause::WorkDone
            };
            self.begin_shutdown(cause, true);
        }
        // Whoever had to wait for it is asked to stop now.
        if self.root.shutdown.is_some_and(|it| it.is_heard) {
            self.ask_those_who_may_stop();
        }
    }

    pub(super) fn begin_shutdown(&mut self, cause: ShutdownCause, is_heard: bool) {
        if let Some(shutdown) = &mut self.root.shutdown {
            if !shutdown.is_heard && shutdown.at == self.now {
                shutdown.other.get_or_insert(cause);
            }
            return;
        }
        self.root.shutdown = Some(Shutdown {
            at: self.now,
            cause,
            other: None,
            is_heard,
            is_reported: false,
        });
        if is_heard {
            self.ask_those_who_may_stop();
        }
    }

    fn ask_those_who_may_stop(&mut self) {
        let own = self.alive.iter().copied().filter(|id| {
            let life = self.lives.get(id);
            life.is_some_and(|life| life.parent.is_none()) && self.is_last(*id)
        });
        let own: Vec<_> = own.collect();
        for id in own {
            if let Some(life) = self.lives.get_mut(&id) {
                life.stop_asked.get_or_insert(self.now);
            }
        }
    }

    /// When all must be gone, once the shutdown has begun.
    pub(super) fn latest(&self) -> Option<At> {
        let timeout = ms(self.history.fleet.shutdown_timeout);
        self.root.shutdown.map(|it| tick(it.at + timeout))
    }

    /// Whether nobody is left who started after it, or after one of its name.
    pub(super) fn is_last(&self, id: u64) -> bool {
        let Some(life) = self.lives.get(&id) else {
            return true;
        };
        let name = &life.path;
        let mut others = self.alive.iter().filter_map(|id| self.lives.get(id));
        !others.any(|other| other.id != id && other.node.common().after.contains(name))
    }

    /// Whether nobody is left who started after this very one.
    pub(super) fn is_last_of_its_own(&self, id: u64) -> bool {
        let mut others = self.alive.iter().filter_map(|id| self.lives.get(id));
        !others.any(|other| other.after.iter().any(|on| on.id == id))
    }

    pub(super) fn drained(&mut self, report: &DrainReport) -> Verdict {
        let Some(shutdown) = &mut self.root.shutdown else {
            return Err("a drain without a shutdown".to_owned());
        };
        shutdown.is_reported = true;
        let began = shutdown.at;
        if !self.alive.is_empty() {
            return Err(format!("drained, and {} are left", self.alive.len()));
        }
        // Of those that ended in the moment in which it began, the trace does not tell whether that was before.
        let (mut all, mut surely, mut last) = (Vec::new(), Vec::new(), began);
        for life in self.lives.values() {
            let Some((at, reason)) = life.end.as_ref().filter(|(at, _)| *at >= began) else {
                continue;
            };
            last = last.max(*at);
            let end = (&life.path, Ending::of(reason) == Some(Ending::Aborted));
            all.push(end);
            surely.extend((*at > began).then_some(end));
        }
        let aborted = |ends: &[(&String, bool)]| -> Vec<String> {
            let aborted = ends.iter().filter(|(_, is_aborted)| *is_aborted);
            aborted.map(|(path, _)| (*path).clone()).collect()
        };
        let drained = |ends: &[(&String, bool)]| ends.len() - aborted(ends).len();
        if !report.stuck.is_empty() {
            return Err(format!("nobody blocks a thread, and {report}"));
        }
        if !is_within(&report.aborted, &aborted(&surely), &aborted(&all)) {
            let aborted = aborted(&all);
            return Err(format!(
                "aborted were {aborted:?}, and the report says {report}"
            ));
        }
        if !(drained(&surely)..=drained(&all)).contains(&report.drained) {
            let drained = drained(&all);
            return Err(format!(
                "{drained} have drained, and the report says {report}"
            ));
        }
        if report.took != last - began {
            return Err(format!(
                "the drain took {:?}, and the report says {report}",
                last - began
            ));
        }
        Ok(())
    }

    pub(super) fn returned(&self, cause: ShutdownCause) -> Verdict {
        let shutdown = self.root.shutdown.ok_or("no shutdown has begun")?;
        let (began, other) = (shutdown.cause, shutdown.other);
        if began == cause || other == Some(cause) {
            return Ok(());
        }
        Err(format!(
            "the shutdown was begun by {began:?}, and {cause:?} is told"
        ))
    }
}

/// Whether these names are all of the least, in order, and no others than all.
fn is_within(names: &[String], least: &[String], all: &[String]) -> bool {
    let mut left = all.iter();
    let is_in_order = names.iter().all(|name| left.any(|it| it == name));
    is_in_order && least.iter().all(|name| names.contains(name))
}

/// Whether a group's work is done with the end of one in it, when so many are left.
pub(super) const fn is_done(
    rule: AutoShutdown,
    is_significant: bool,
    is_by_itself: bool,
    left: usize,
    significant_left: usize,
) -> bool {
    match rule {
        AutoShutdown::Never => false,
        AutoShutdown::AnySignificant => is_significant && is_by_itself,
        AutoShutdown::AllSignificant => is_significant && is_by_itself && significant_left == 0,
        AutoShutdown::AllTerminated => left == 0,
    }
}
