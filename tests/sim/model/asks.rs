//! Requests, and whether each is answered when it has taken effect.

use super::ends::OwnEnd;
use super::family::Cause;
use super::{Model, Verdict};
use crate::script::Wish;
use crate::trace::{Answer, At};
use janus_supervisor::machine::ChildEnd;
use janus_supervisor::{RestartError, ServicePhase};

/// A request that has not been answered.
#[derive(Debug)]
pub(crate) struct Asked {
    wish: Wish,
    id: u64,
    at: At,
    /// How many runs had begun by then.
    runs: u32,
}

impl Model<'_> {
    pub(super) fn asked(&mut self, no: Option<usize>, wish: Wish, id: u64) -> Verdict {
        let now = self.now;
        let life = self.life_mut(id)?;
        let runs = life.runs();
        if !life.is_over() {
            match wish {
                Wish::Stop | Wish::Remove => {
                    life.stop_asked.get_or_insert(now);
                }
                Wish::Restart => {
                    life.restart_asked = Some(now);
                    let is_told = life.stop_asked.is_some() || life.is_stopping();
                    if let Some(run) = life.present.as_mut().filter(|_| !is_told) {
                        if run.told.is_none() {
                            run.told = Some(now);
                            life.family.end(Cause::Told);
                        }
                    }
                }
                Wish::WaitReady | Wish::WaitEnd => {}
            }
        }
        if let Some(no) = no {
            let at = now;
            self.asked.insert(no, Asked { wish, id, at, runs });
        }
        Ok(())
    }

    pub(super) fn answered(&mut self, no: usize, answer: &Answer) -> Verdict {
        let asked = self
            .asked
            .remove(&no)
            .ok_or("an answer that nobody wants")?;
        let life = self.life(asked.id)?;
        let end = life.end.as_ref();
        let is_running = life.phase == ServicePhase::Running;
        let is_anew = life.runs() > asked.runs;
        // Its new run is over, and it goes on or does not.
        let is_back = life.phase == ServicePhase::BackingOff;
        let how = end.map(|(_, reason)| ChildEnd::of(Some(reason)));
        let has_completed =
            (is_back && life.own_end == Some(OwnEnd::Clean)) || how == Some(ChildEnd::Completed);
        let has_failed =
            (is_back && life.own_end == Some(OwnEnd::Failed)) || how == Some(ChildEnd::Failed);
        let wrong = || {
            let (path, wish) = (&life.path, asked.wish);
            Err(format!("{wish:?} of {path} is answered with {answer:?}"))
        };
        let is_in_time = end.is_none_or(|(at, _)| self.now == asked.at.max(*at));
        let is_right = match answer {
            Answer::Ended(reason) => end.is_some_and(|(_, it)| it == reason) && is_in_time,
            Answer::Removed(reason) => {
                let told = end.map(|(_, it)| it.to_string());
                told.is_some() && told == *reason && life.is_removed && is_in_time
            }
            Answer::Ready(true) => is_running,
            Answer::Ready(false) => end.is_some() && is_in_time,
            Answer::Restarted(Ok(())) => is_anew && (is_running || has_completed),
            Answer::Restarted(Err(RestartError::Terminated { reason, .. })) => {
                let is_by_itself = has_completed || has_failed;
                end.is_some_and(|(_, it)| it == reason) && is_in_time && !(is_anew && is_by_itself)
            }
            Answer::Restarted(Err(RestartError::Failed { .. })) => is_anew && has_failed,
            Answer::Restarted(Err(_)) => false,
        };
        if is_right { Ok(()) } else { wrong() }
    }

    pub(super) fn forgotten(&self, path: &str, forgotten: bool) -> Verdict {
        let life = self.by_path.get(path).and_then(|id| self.lives.get(id));
        let is_there = life.is_some_and(|life| life.is_over() && !life.is_removed);
        if is_there {
            return Err(format!("{path} has terminated, and was not forgotten"));
        }
        if forgotten && life.is_none_or(|life| !life.is_removed) {
            return Err(format!("{path} was forgotten, and nobody was told"));
        }
        Ok(())
    }

    /// Nothing happens any more in this moment: who can be answered, is.
    pub(super) fn all_are_answered(&self) -> Verdict {
        for asked in self.asked.values() {
            let life = self.life(asked.id)?;
            let is_running = life.phase == ServicePhase::Running;
            let is_due = life.is_over()
                || match asked.wish {
                    Wish::Stop | Wish::Remove | Wish::WaitEnd => false,
                    Wish::WaitReady => is_running,
                    Wish::Restart => {
                        let is_back =
                            life.phase == ServicePhase::BackingOff && life.own_end.is_some();
                        (is_running || is_back) && life.runs() > asked.runs
                    }
                };
            if is_due {
                let (wish, path) = (asked.wish, &life.path);
                return Err(format!("{wish:?} of {path} is not answered"));
            }
        }
        Ok(())
    }
}
