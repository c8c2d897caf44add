//! Events: each has to be one that can follow, at the time at which it comes.

use super::family::{Cause, Family, State};
use super::life::{Ending, Expected, Life, Why};
use super::{Model, Verdict};
use crate::script::ms;
use crate::trace::Spawned;
use janus_supervisor::{EventKind, ServiceEvent, ServicePhase};

impl Model<'_> {
    pub(super) fn event(&mut self, event: &ServiceEvent) -> Verdict {
        let told = if matches!(event.kind, EventKind::Registered) {
            self.registered(event)
        } else {
            self.told_by(event)
        };
        told.map_err(|why| format!("{} (#{}): {why}", event.service, event.id))
    }

    fn registered(&mut self, event: &ServiceEvent) -> Verdict {
        let path = event.service.to_string();
        if event.seq != 0 || event.run != 1 || self.lives.contains_key(&event.id) {
            return Err("a registration with a past".to_owned());
        }
        if let Some(old) = self.by_path.get(&path) {
            if !self.life(*old)?.is_over() {
                return Err("another of its name has not terminated".to_owned());
            }
        }
        let (node, parent) = match path.rsplit_once('/') {
            None => {
                let (node, possible) = self.spawning.as_ref().ok_or("nobody spawned it")?;
                if !possible.contains(&Spawned::Done) {
                    return Err("it should have been refused".to_owned());
                }
                (*node, None)
            }
            Some((group, _)) => {
                let group = self.known_by(group)?;
                let place = self.life(group)?.family.children.len();
                let node = self.group_of(group)?.children.get(place);
                (
                    node.ok_or("its group has no such child")?,
                    Some((group, place)),
                )
            }
        };
        let name = path.rsplit('/').next();
        if name != Some(node.common().name.as_str()) {
            return Err("children are registered in another order".to_owned());
        }
        let mut life = Life::new(event.id, path.clone(), node, parent, self.now);
        if let Some((group, place)) = parent {
            let group = self.life_mut(group)?;
            group.family.children.push(event.id);
            if group.present.is_some() && place == 0 {
                group.family.enter(State::Raising(0));
                life.permitted = Some(self.now);
            }
        } else {
            self.note_dependencies(&mut life);
        }
        self.lives.insert(event.id, life);
        self.by_path.insert(path, event.id);
        self.alive.push(event.id);
        Ok(())
    }

    fn told_by(&mut self, event: &ServiceEvent) -> Verdict {
        let id = event.id;
        let life = self.life_mut(id)?;
        if event.seq != life.next_seq {
            return Err(format!("event {} is missing", life.next_seq));
        }
        life.next_seq += 1;
        if life.is_over() != matches!(event.kind, EventKind::Removed) || life.is_removed {
            return Err(
                "nothing follows the end but that it is removed, and that only once".into(),
            );
        }
        if matches!(event.kind, EventKind::Restarting) {
            life.run += 1;
        }
        if event.run != life.run {
            return Err(format!("this is run {}", life.run));
        }
        if let Some(next) = event.kind.phase() {
            if !is_legal(life.phase, next) {
                return Err(format!("{next} cannot follow {}", life.phase));
            }
            life.phase = next;
        }
        self.follows(id, &event.kind)?;
        match &event.kind {
            EventKind::Running => self.running(id),
            EventKind::RunEnded { outcome, ran_for } => self.run_ended(id, outcome, *ran_for),
            EventKind::Restarting => {
                self.life_mut(id)?.family = Family::default();
                self.begin(id)
            }
            EventKind::Recovered => self.recovered(id),
            EventKind::Reset => self.reset(id),
            EventKind::Stopping => self.stopping(id),
            EventKind::Removed => {
                self.life_mut(id)?.is_removed = true;
                Ok(())
            }
            // All there is to say of these is that they were expected.
            EventKind::BackingOff { .. }
            | EventKind::BreakerOpened { .. }
            | EventKind::Terminated { .. } => Ok(()),
            other => Err(format!("{other:?} is unknown")),
        }
    }

    /// What must come next comes, and nothing comes that would have to be expected.
    fn follows(&mut self, id: u64, kind: &EventKind) -> Verdict {
        let now = self.now;
        let life = self.life_mut(id)?;
        let is_asked = life.stop_asked.is_some() && !matches!(kind, EventKind::Stopping);
        if is_asked && !life.is_stopping() && !life.is_over() && !life.is_group() {
            return Err("a stop was asked for, and comes first".to_owned());
        }
        let expected = (!life.expected.is_empty()).then(|| life.expected.remove(0));
        let wrong = |expected| Err(format!("{kind:?}, and expected was {expected:?}"));
        match (kind, expected) {
            (EventKind::BackingOff { attempt, delay }, Some(Expected::BackingOff(wait))) => {
                if *attempt != wait.attempt || *delay < wait.low || *delay > wait.high {
                    return wrong(Some(Expected::BackingOff(wait)));
                }
                life.due = Some(now + *delay);
                if wait.is_drawn {
                    life.failures.drew(*delay, life.backoff());
                }
                self.waits(id, wait.why)
            }
            (
                EventKind::BreakerOpened {
                    failures,
                    max_retries,
                },
                Some(Expected::Opened(n)),
            ) => {
                let set = life.backoff().breaker.map(|(max, _)| max);
                if *failures != n || Some(*max_retries) != set {
                    return wrong(Some(Expected::Opened(n)));
                }
                Ok(())
            }
            (EventKind::Terminated { reason }, None) if life.is_unseen() => {
                life.end = Some((now, reason.clone()));
                match Ending::of(reason) {
                    Some(Ending::Cancelled) => self.terminated(id, Ending::Cancelled),
                    _ => wrong(None),
                }
            }
            (EventKind::Terminated { reason }, Some(Expected::Terminated(ending))) => {
                if Ending::of(reason) != Some(ending) {
                    return wrong(Some(Expected::Terminated(ending)));
                }
                life.end = Some((now, reason.clone()));
                self.terminated(id, ending)
            }
            (
                EventKind::BackingOff { .. }
                | EventKind::BreakerOpened { .. }
                | EventKind::Terminated { .. },
                None,
            ) => wrong(None),
            (_, None) => Ok(()),
            (_, expected) => wrong(expected),
        }
    }

    fn waits(&mut self, id: u64, why: Why) -> Verdict {
        match (self.life(id)?.parent, why) {
            (None, Why::Halted) => Ok(()),
            (None, Why::Down) => {
                self.restarts_one();
                Ok(())
            }
            (Some((parent, place)), Why::Halted) => self.is_halted(parent, place),
            (Some((parent, place)), Why::Down) => self.is_down(parent, place),
        }
    }

    fn terminated(&mut self, id: u64, ending: Ending) -> Verdict {
        self.alive.retain(|other| *other != id);
        let life = self.life(id)?;
        let is_significant = life.node.common().significant;
        match life.parent {
            None => {
                self.loses_one(is_significant, ending);
                Ok(())
            }
            Some((parent, place)) => self.loses(parent, place, ending),
        }
    }

    fn running(&mut self, id: u64) -> Verdict {
        if self.life(id)?.present.is_none() {
            self.begin(id)?;
        }
        let now = self.now;
        let life = self.life_mut(id)?;
        let (is_ready_at_once, is_group) = (life.is_ready_at_once(), life.is_group());
        let all = life.family.children.len();
        let are_up = life.family.states().any(|it| it == State::Raising(all)) || self.is_empty(id);
        let life = self.life_mut(id)?;
        let run = life.present.as_mut().ok_or("no run is in progress")?;
        (run.running, run.alive) = (Some(now), now);
        if is_ready_at_once {
            // It is when its run was polled.
            return if run.began == now {
                Ok(())
            } else {
                Err("it was ready when it began".to_owned())
            };
        }
        if is_group && !are_up {
            return Err("not all in it have had their turn".to_owned());
        }
        if !is_group && !run.said_ready {
            return Err("it has not said that it is ready".to_owned());
        }
        self.is_up(id)
    }

    fn recovered(&mut self, id: u64) -> Verdict {
        let now = self.now;
        let life = self.life_mut(id)?;
        let cooldown = ms(life.backoff().cooldown);
        let run = life.present.as_ref();
        let lasted = run.and_then(|run| Some(run.running? + cooldown));
        if lasted != Some(now) || !life.failures.has_any() {
            return Err("there is nothing to recover from, or not now".to_owned());
        }
        life.failures.forget();
        Ok(())
    }

    fn reset(&mut self, id: u64) -> Verdict {
        let now = self.now;
        let life = self.life_mut(id)?;
        if life.restart_asked != Some(now) || !life.failures.counts_any(now, life.backoff()) {
            return Err("nobody wants it to run anew, or there is nothing to forget".to_owned());
        }
        life.failures.forget();
        Ok(())
    }

    fn stopping(&mut self, id: u64) -> Verdict {
        if !self.may_stop(id) {
            return Err("nobody wants it to stop, or not yet".to_owned());
        }
        let now = self.now;
        let life = self.life_mut(id)?;
        life.stopping_at = Some(now);
        life.due = None;
        life.revoke(now);
        life.family.end(Cause::Told);
        if life.present.is_none() && !life.is_unseen() {
            life.expected.push(Expected::Terminated(Ending::Cancelled));
        }
        Ok(())
    }
}

/// The table of the design.
const fn is_legal(from: ServicePhase, to: ServicePhase) -> bool {
    use ServicePhase::{BackingOff, Running, Starting, Stopping, Terminated};
    matches!(
        (from, to),
        (Starting, Running | BackingOff | Stopping | Terminated)
            | (Running, BackingOff | Stopping | Terminated)
            | (BackingOff, Starting | Stopping | Terminated)
            | (Stopping, Terminated)
    )
}
