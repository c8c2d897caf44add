//! A plan carried out.

use crate::fleet::{Fleet, Printed};
use crate::plan::{ENDLESS, First, Plan, Second};
use anyhow::{Result, bail};
use janus_tests::{ms, secs};
use rustix::process::Signal;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;
use tokio::time::Instant;

/// The supervisor's second bound, by default: how long it waits for what was dropped.
const ABORT_TIMEOUT: Duration = secs(1);

/// For a busy machine. A fleet that waits for the wrong thing waits for ever, or for the half minute that is the
/// supervisor's default.
const SLACK: Duration = secs(5);

/// No plan has its first signal later after the start of a fleet that starts.
const LATEST_SIGNAL: Duration = secs(5);

/// The line that says that signals are handled.
pub(crate) const TITLE: &str = "kv listening on ";

/// The line that says that a signal was seen.
const SEEN: &str = "shutting down cause=SIG";

/// How often the clock is looked at.
const LOOK: Duration = ms(1);

/// What came of a run.
pub(crate) struct Outcome {
    pub(crate) status: ExitStatus,
    pub(crate) printed: Printed,
    /// The signals that were sent.
    pub(crate) sent: Vec<Signal>,
    /// The first signal was seen before the second was sent, or there was none.
    pub(crate) first_alone: bool,
    /// For how long the process was stopped since the first signal.
    pub(crate) stopped: Duration,
    /// From the first signal to the end, without the time that it was stopped.
    pub(crate) took: Duration,
    /// Somebody is left in its process group.
    pub(crate) orphans: bool,
    /// It came in the moment in which its handler was installed, and had to be sent once more.
    pub(crate) first_lost: bool,
}

/// A fleet, and what has been done to it.
struct Run<'a> {
    plan: &'a Plan,
    fleet: Fleet,
    begun: Instant,
    titled: Option<Instant>,
    seen: Option<Instant>,
    sent: Vec<(Instant, Signal)>,
    first_alone: bool,
    pauses: Vec<(Duration, Duration)>,
    /// Since when it is stopped, and until when.
    paused: Option<(Instant, Instant)>,
    stopped_before: Duration,
    stopped_after: Duration,
    first_lost: bool,
}

/// Carries out a plan.
///
/// # Errors
/// When the fleet does not end in time. Whether it has ended well is for the judge.
pub(crate) fn carry_out(plan: &Plan, program: &Path) -> Result<Outcome> {
    let fleet = Fleet::start(program, &plan.args())?;
    let mut pauses = plan.pauses.clone();
    pauses.sort_unstable();
    pauses.reverse();
    let mut run = Run {
        plan,
        fleet,
        begun: Instant::now(),
        titled: None,
        seen: None,
        sent: Vec::new(),
        first_alone: true,
        pauses,
        paused: None,
        stopped_before: Duration::ZERO,
        stopped_after: Duration::ZERO,
        first_lost: false,
    };
    loop {
        run.fleet.read(LOOK);
        let now = Instant::now();
        run.take_note(now);
        if let Some(status) = run.fleet.ended()? {
            return run.end(status, now);
        }
        run.pause_and_go_on(now)?;
        run.send_signals(now)?;
        if now > run.latest() && !run.send_once_more(now)? {
            bail!(
                "it does not end; it has printed:\n{}{}",
                run.fleet.printed.stdout,
                run.fleet.printed.stderr
            );
        }
    }
}

impl Run<'_> {
    fn take_note(&mut self, now: Instant) {
        if self.titled.is_none() && self.fleet.printed.has(TITLE) {
            self.titled = Some(now);
        }
        if self.seen.is_none() && self.fleet.printed.has(SEEN) {
            self.seen = Some(now);
        }
    }

    fn pause_and_go_on(&mut self, now: Instant) -> Result<()> {
        match (self.paused, self.pauses.last()) {
            (Some((since, until)), _) if until <= now => {
                self.fleet.signal(Signal::CONT)?;
                self.paused = None;
                let stopped = now - since;
                if self.sent.is_empty() {
                    self.stopped_before += stopped;
                } else {
                    self.stopped_after += stopped;
                }
            }
            (None, Some(&(at, length))) if self.begun + at <= now => {
                self.pauses.pop();
                self.stop_for(length, now)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn stop_for(&mut self, length: Duration, now: Instant) -> Result<()> {
        self.fleet.signal(Signal::STOP)?;
        self.paused = Some((now, now + length));
        Ok(())
    }

    fn send_signals(&mut self, now: Instant) -> Result<()> {
        let due = match (self.sent.as_slice(), self.plan.first, self.plan.second) {
            ([], First::AfterStart(after), _) => Some(self.begun + after),
            ([], First::AfterTitle(after), _) => self.titled.map(|at| at + after),
            ([(first, _)], _, Second::After(after)) => Some(*first + after),
            ([_], _, Second::AfterFirstSeen(after)) => self.seen.map(|at| at + after),
            _ => None,
        };
        if due.is_none_or(|due| due > now) {
            return Ok(());
        }
        if self.sent.is_empty() {
            if let (Some(pause), None) = (self.plan.pause_at_signal, self.paused) {
                self.stop_for(pause, now)?;
            }
        } else {
            self.first_alone = self.seen.is_some();
        }
        let signal = self.plan.signals[self.sent.len()];
        self.fleet.signal(signal)?;
        self.sent.push((now, signal));
        Ok(())
    }

    /// Sends the first signal again, once, if it may have been lost: between the moment in which the system knows the
    /// handler (until then it ends the process) and the one in which the handler knows whom to tell. That is in
    /// signal-hook-registry, on which tokio builds; it is over before the fleet says anything.
    fn send_once_more(&mut self, now: Instant) -> Result<bool> {
        let is_lost = match (self.sent.as_slice(), self.seen) {
            ([(sent, _), ..], None) => self.titled.is_none_or(|titled| *sent < titled),
            _ => false,
        };
        if !is_lost || self.first_lost {
            return Ok(false);
        }
        self.first_lost = true;
        for (at, signal) in &mut self.sent {
            *at = now;
            self.fleet.signal(*signal)?;
        }
        Ok(true)
    }

    /// When it must have ended, or at least have come further.
    fn latest(&self) -> Instant {
        let due = match self.sent.as_slice() {
            [] => self.begun + LATEST_SIGNAL + self.stopped_before,
            [(first, _)] if self.plan.grace == ENDLESS => *first + self.stopped_after,
            [(first, _)] => *first + self.plan.grace + ABORT_TIMEOUT + self.stopped_after,
            [.., (second, _)] if self.plan.grace == ENDLESS => {
                *second + ABORT_TIMEOUT + self.stopped_after
            }
            [(first, _), ..] => *first + self.plan.grace + ABORT_TIMEOUT + self.stopped_after,
        };
        self.paused.map_or(due, |(_, until)| due.max(until)) + SLACK
    }

    fn end(mut self, status: ExitStatus, now: Instant) -> Result<Outcome> {
        let orphans = self.fleet.has_orphans();
        // The pipes are closed, unless an orphan has them.
        while self.fleet.read(SLACK) {
            if now.elapsed() > SLACK {
                bail!("it has ended, but somebody still has its stdout or stderr");
            }
        }
        let first = self.sent.first().map_or(now, |(at, _)| *at);
        Ok(Outcome {
            status,
            printed: std::mem::take(&mut self.fleet.printed),
            sent: self.sent.iter().map(|(_, signal)| *signal).collect(),
            first_alone: self.first_alone,
            stopped: self.stopped_after,
            took: (now - first).saturating_sub(self.stopped_after),
            orphans,
            first_lost: self.first_lost,
        })
    }
}
