//! What the runs of scripted services see of themselves.

use super::{Model, Verdict};
use crate::trace::Fact;
use janus_supervisor::{ServicePhase, StopReason};

impl Model<'_> {
    pub(super) fn fact(&mut self, path: &str, fact: Fact) -> Verdict {
        let id = self.known_by(path)?;
        let told = self.note(id, fact);
        told.map_err(|why| format!("{path}: {fact:?}: {why}"))
    }

    fn note(&mut self, id: u64, fact: Fact) -> Verdict {
        let now = self.now;
        match fact {
            Fact::Called => return self.called(id),
            Fact::Told(reason) => return self.told(id, reason),
            Fact::Gone => {
                let life = self.life_mut(id)?;
                if !std::mem::take(&mut life.is_playing) {
                    return Err("it was gone already".to_owned());
                }
                return Ok(());
            }
            _ => {}
        }
        let life = self.life_mut(id)?;
        let is_running = life.phase == ServicePhase::Running;
        let is_ready_at_once = life.is_ready_at_once();
        let run = life.present.as_mut().ok_or("no run is in progress")?;
        match fact {
            Fact::Polled => {
                run.polled = true;
                if is_ready_at_once {
                    self.is_up(id)?;
                }
            }
            Fact::SaidReady => run.said_ready = true,
            Fact::Beat if is_running => run.alive = now,
            Fact::CancelledItself => run.cancelled_itself = true,
            Fact::PanicsInDrop => run.drop_panicked = true,
            Fact::Ends(end) => run.ends = Some((now, end)),
            _ => {}
        }
        Ok(())
    }

    fn called(&mut self, id: u64) -> Verdict {
        let life = self.life(id)?;
        if life.is_playing {
            return Err("a run begins, and the one before it is not gone".to_owned());
        }
        if life.present.is_none() {
            self.begin(id)?;
        }
        let now = self.now;
        let life = self.life_mut(id)?;
        life.is_playing = true;
        let is_ready_at_once = life.is_ready_at_once();
        let run = life.present.as_mut().ok_or("no run is in progress")?;
        if run.called || run.began != now {
            return Err("it was begun at another time".to_owned());
        }
        run.called = true;
        if is_ready_at_once != run.running.is_some() {
            return Err("it is running before it is ready, or the other way round".to_owned());
        }
        Ok(())
    }

    /// Its token is cancelled.
    fn told(&mut self, id: u64, reason: Option<StopReason>) -> Verdict {
        let life = self.life(id)?;
        let run = life.present.as_ref().ok_or("no run is in progress")?;
        let is_right = match reason {
            None => run.cancelled_itself,
            Some(StopReason::Shutdown) => self.root.shutdown.is_some(),
            Some(StopReason::Stop) => self.may_stop(id),
            Some(StopReason::Restart) => life.restart_asked.is_some(),
            Some(StopReason::Sibling) => self.may_be_lowered(id),
            Some(_) => false,
        };
        if !is_right {
            return Err("nobody has told it to end for that".to_owned());
        }
        if let Some(run) = &mut self.life_mut(id)?.present {
            run.knows = true;
        }
        Ok(())
    }
}
