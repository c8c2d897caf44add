//! All that was seen of one history, in the order in which it happened.

use crate::script::{End, Trigger, Wish};
use janus_supervisor::{
    DrainReport, RestartError, ServiceEvent, ShutdownCause, StopReason, TerminationReason,
};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Time since the beginning of the history.
pub(crate) type At = Duration;

#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) at: At,
    pub(crate) entry: Entry,
}

#[derive(Debug)]
pub(crate) enum Entry {
    /// What the supervisor says.
    Event(ServiceEvent),
    /// What the run of a scripted service sees of itself. Services are known by their paths.
    Fact(Arc<str>, Fact),
    /// A tree is about to be spawned, and what came of it.
    Spawning(usize),
    Spawned(Spawned),
    /// Somebody wants something of the service of this id. Wishes are numbered.
    Asked(usize, Wish, u64),
    /// The same, and nobody waits for the answer.
    AskedAndLeft(Wish, u64),
    Answered(usize, Answer),
    Forgotten(String, bool),
    /// Somebody begins the shutdown.
    Shutdown(Trigger),
    Drained(DrainReport),
    RunReturned(ShutdownCause),
    /// The history has come to its end.
    Over,
    /// What can be seen while it happens, and must not be.
    Fault(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fact {
    /// `run` was called.
    Called,
    /// Its future was polled for the first time.
    Polled,
    SaidReady,
    Beat,
    CancelledItself,
    /// Its token is cancelled, and why.
    Told(Option<StopReason>),
    /// It is about to end by itself.
    Ends(End),
    /// Its future is gone.
    Gone,
    /// And panics on the way.
    PanicsInDrop,
}

/// What came of a spawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Spawned {
    Done,
    NameInUse,
    NoSuchDependency,
    Cycle,
    TooLate,
    /// Nobody is left to ask.
    Nobody,
    Refused(String),
}

#[derive(Debug)]
pub(crate) enum Answer {
    Ended(TerminationReason),
    Restarted(Result<(), RestartError>),
    /// It is gone: its reason in words.
    Removed(Option<String>),
    Ready(bool),
}

/// Where it is written down.
#[derive(Debug)]
pub(crate) struct Trace {
    begun: Instant,
    lines: Mutex<Vec<Line>>,
}

impl Trace {
    /// Inside a runtime only.
    pub(crate) fn new() -> Self {
        Self {
            begun: now(),
            lines: Mutex::default(),
        }
    }

    pub(crate) fn add(&self, entry: Entry) {
        let at = self.elapsed();
        self.lock().push(Line { at, entry });
    }

    pub(crate) fn elapsed(&self) -> At {
        now().saturating_duration_since(self.begun)
    }

    /// All lines so far.
    pub(crate) fn take(&self) -> Vec<Line> {
        std::mem::take(&mut self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Line>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The time on the paused clock.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>7.1} ", self.at.as_secs_f64() * 1_000.0)?;
        match &self.entry {
            Entry::Event(event) => {
                let (id, name, run, kind) = (event.id, &event.service, event.run, &event.kind);
                write!(f, "{name} (#{id}, run {run}): {kind:?}")
            }
            Entry::Fact(path, fact) => write!(f, "{path}: {fact:?}"),
            other => write!(f, "-- {other:?}"),
        }
    }
}
