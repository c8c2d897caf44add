//! Ends of runs: each has to be the end that the run itself tells of, and says what has to follow.

use super::delay::{AfterFailure, tick};
use super::family::Cause;
use super::life::{Ending, Expected, Life, Present, Why};
use super::{Model, Verdict};
use crate::actor::MESSAGE;
use crate::script::{End, ms};
use janus_supervisor::{Failure, FailureKind, RestartPolicy, RunOutcome};
use std::time::Duration;

impl Model<'_> {
    pub(super) fn run_ended(
        &mut self,
        id: u64,
        outcome: &RunOutcome,
        ran_for: Duration,
    ) -> Verdict {
        let may_be_halted = self.may_be_halted(id);
        let (now, children) = (self.now, self.life(id)?.family.children.clone());
        for child in children {
            let child = self.life(child)?;
            if !child.is_over() {
                return Err(format!("its run is over, and {} is not", child.path));
            }
        }
        if self.life(id)?.is_unseen() {
            self.begin(id)?;
        }
        let life = self.life(id)?;
        let run = life.present.clone().ok_or("no run is in progress")?;
        if life.is_playing {
            return Err("its run is not gone".to_owned());
        }
        if ran_for != now - run.began {
            return Err(format!("it began at {:?}", run.began));
        }
        let is_to_end = life.is_stopping() || may_be_halted;
        let is_surely_to_end = life.is_stopping() || run.told.is_some();
        let by_itself = match outcome {
            RunOutcome::Completed | RunOutcome::Failed(_) if is_surely_to_end => {
                return Err("it was told to end, so this is no end by itself".to_owned());
            }
            RunOutcome::Completed => Some(self.is_own_end(life, &run, None)?),
            RunOutcome::Failed(failure) => Some(self.is_own_end(life, &run, Some(failure))?),
            RunOutcome::Cancelled(_) | RunOutcome::Aborted if !is_to_end => {
                return Err("nobody has told it to end".to_owned());
            }
            RunOutcome::Cancelled(failure) => {
                if !life.is_group() {
                    let own = own_end(&run).ok_or("it has not ended")?;
                    check_failure(own, failure.as_ref())?;
                }
                None
            }
            RunOutcome::Aborted => {
                let abort_at = self.abort_at(life).map(|at| at.max(run.told.unwrap_or(at)));
                let abort_at = abort_at.map(|at| at.max(life.stopping_at.unwrap_or(at)));
                if abort_at != Some(now) || run.ends.is_some() {
                    return Err(format!("it may take until {abort_at:?}"));
                }
                None
            }
            other => return Err(format!("{other:?} is unknown")),
        };
        self.follow(id, outcome, by_itself)
    }

    /// Says what has to follow the end of a run.
    fn follow(&mut self, id: u64, outcome: &RunOutcome, by_itself: Option<OwnEnd>) -> Verdict {
        let now = self.now;
        let life = self.life_mut(id)?;
        life.present = None;
        life.own_end = by_itself;
        let backoff = life.backoff();
        let policy = life.policy();
        life.expected = match by_itself {
            None if life.is_stopping() => {
                vec![Expected::Terminated(match outcome {
                    RunOutcome::Aborted => Ending::Aborted,
                    _ => Ending::Cancelled,
                })]
            }
            None => vec![Expected::wait(
                life.failures.attempt,
                Duration::ZERO,
                Why::Halted,
            )],
            Some(OwnEnd::Clean) if policy == RestartPolicy::Always => {
                life.failures.clean();
                vec![Expected::wait(0, ms(backoff.base), Why::Down)]
            }
            Some(OwnEnd::Clean) => vec![Expected::Terminated(Ending::Completed)],
            Some(OwnEnd::Permanent) => vec![Expected::Terminated(Ending::Unrecoverable)],
            Some(OwnEnd::Failed) if policy == RestartPolicy::Never => {
                vec![Expected::Terminated(Ending::Unrecoverable)]
            }
            Some(OwnEnd::Failed) => match life.failures.fail(now, backoff) {
                AfterFailure::Wait(low, high) => {
                    vec![Expected::drawn(life.failures.attempt, low, high)]
                }
                AfterFailure::Open(failures, Some(trial)) => vec![
                    Expected::Opened(failures),
                    Expected::wait(life.failures.attempt, trial, Why::Down),
                ],
                AfterFailure::Open(failures, None) => vec![
                    Expected::Opened(failures),
                    Expected::Terminated(Ending::BreakerOpen),
                ],
            },
        };
        Ok(())
    }

    /// Whether a run can have ended by itself like that, now.
    fn is_own_end(
        &self,
        life: &Life<'_>,
        run: &Present,
        failure: Option<&Failure>,
    ) -> Result<OwnEnd, String> {
        if life.is_group() {
            let cause = life.family.cause().ok_or("nothing has ended it")?;
            return match (cause, failure.map(Failure::kind)) {
                (Cause::IntensityExceeded | Cause::ChildLost, Some(FailureKind::Error)) => {
                    Ok(OwnEnd::Failed)
                }
                (Cause::DoneWithFailure, Some(FailureKind::Error)) => Ok(OwnEnd::Permanent),
                (Cause::Done, None) => Ok(OwnEnd::Clean),
                _ => Err(format!("a group ends by {cause:?}, and not so")),
            };
        }
        let spec = life.service().ok_or("it is no service")?;
        let due = match failure.map(Failure::kind) {
            Some(FailureKind::StartTimeout) if run.running.is_none() && !run.said_ready => {
                spec.start_timeout.map(|timeout| run.began + ms(timeout))
            }
            Some(FailureKind::Hang) if run.running.is_some() => {
                spec.watchdog.map(|period| run.alive + ms(period))
            }
            Some(FailureKind::StartTimeout | FailureKind::Hang) => None,
            _ => {
                let own = own_end(run).ok_or("it has not ended")?;
                if run.ends.map(|(at, _)| at) != Some(self.now) {
                    return Err("it has ended before".to_owned());
                }
                check_failure(own, failure)?;
                return Ok(match own {
                    End::Ok => OwnEnd::Clean,
                    End::Fail | End::Panic => OwnEnd::Failed,
                    End::FailForGood => OwnEnd::Permanent,
                });
            }
        };
        if due.map(tick) != Some(self.now) || run.ends.is_some() {
            return Err(format!("that would be due at {due:?}"));
        }
        Ok(OwnEnd::Failed)
    }
}

/// How a run ended that was not told to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OwnEnd {
    Clean,
    Failed,
    Permanent,
}

/// How its run has ended, by its own account.
fn own_end(run: &Present) -> Option<End> {
    let (_, end) = run.ends?;
    // What ended well and panics when it is dropped has failed after all.
    Some(if run.drop_panicked && end == End::Ok {
        End::Panic
    } else {
        end
    })
}

/// What is told of an end must be what it was.
fn check_failure(own: End, told: Option<&Failure>) -> Verdict {
    let kind = match own {
        End::Ok => None,
        End::Fail | End::FailForGood => Some(FailureKind::Error),
        End::Panic => Some(FailureKind::Panic),
    };
    let has_message = told.is_none_or(|failure| failure.to_string().contains(MESSAGE));
    if told.map(Failure::kind) != kind || !has_message {
        return Err(format!("it ended with {own:?}"));
    }
    Ok(())
}
