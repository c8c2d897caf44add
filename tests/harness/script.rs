//! A service that follows a script.

use janus_supervisor::{CancellationToken, JanusService, RestartPolicy, ServiceError};
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What one run does.
#[derive(Debug, Clone)]
pub enum Turn {
    /// Returns `Ok(())` at once.
    Complete,
    /// Returns this error at once.
    Fail(&'static str),
    /// Returns this permanent error at once.
    FailForGood(&'static str),
    /// Panics with this message at once.
    Panic(&'static str),
    /// Sleeps, whatever the token says, then does the other.
    After(Duration, Box<Turn>),
    /// Waits for the token, then does the other.
    WhenCancelled(Box<Turn>),
    /// Cancels its own token, then does the other.
    CancelItself(Box<Turn>),
    /// Never ends by itself, whatever the token says.
    Hang,
}

impl Turn {
    /// This turn, after a sleep.
    #[must_use]
    pub fn after(self, delay: Duration) -> Self {
        Self::After(delay, Box::new(self))
    }

    /// This turn, once the token is cancelled.
    #[must_use]
    pub fn when_cancelled(self) -> Self {
        Self::WhenCancelled(Box::new(self))
    }

    /// This turn, after cancelling its own token, which nobody asked for.
    #[must_use]
    pub fn after_cancelling_itself(self) -> Self {
        Self::CancelItself(Box::new(self))
    }

    /// Runs until it is asked to stop, and does so cleanly.
    #[must_use]
    pub fn until_cancelled() -> Self {
        Self::Complete.when_cancelled()
    }
}

/// What a [`Script`] has seen of itself. Shared, so that a test can look at it from outside.
#[derive(Debug, Default)]
pub struct ScriptLog {
    starts: Mutex<Vec<Instant>>,
    in_progress: AtomicU32,
    overlaps: AtomicU32,
    dropped_early: AtomicU32,
}

impl ScriptLog {
    /// How many runs have begun.
    pub fn starts(&self) -> usize {
        self.start_times().len()
    }

    /// When each run began.
    pub fn start_times(&self) -> Vec<Instant> {
        self.starts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// How many runs are in progress now.
    pub fn in_progress(&self) -> u32 {
        self.in_progress.load(SeqCst)
    }

    /// How often a run began while another was in progress: must be 0.
    pub fn overlaps(&self) -> u32 {
        self.overlaps.load(SeqCst)
    }

    /// How many runs were dropped before they had ended.
    pub fn dropped_early(&self) -> u32 {
        self.dropped_early.load(SeqCst)
    }
}

/// A service whose n-th run does the n-th turn; the last turn repeats.
#[derive(Debug, Clone)]
pub struct Script {
    name: String,
    policy: RestartPolicy,
    turns: Vec<Turn>,
    log: Arc<ScriptLog>,
}

impl Script {
    /// A service with the default policy. Without turns, it runs until it is cancelled.
    pub fn new(name: impl Into<String>, turns: impl IntoIterator<Item = Turn>) -> Self {
        Self {
            name: name.into(),
            policy: RestartPolicy::default(),
            turns: turns.into_iter().collect(),
            log: Arc::default(),
        }
    }

    /// Sets the policy.
    #[must_use]
    pub fn policy(mut self, policy: RestartPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// What it sees of itself.
    pub fn log(&self) -> Arc<ScriptLog> {
        Arc::clone(&self.log)
    }
}

impl JanusService for Script {
    fn name(&self) -> &str {
        &self.name
    }

    fn restart_policy(&self) -> RestartPolicy {
        self.policy
    }

    async fn run(&self, cancel: CancellationToken) -> Result<(), ServiceError> {
        let n = {
            let mut starts = self
                .log
                .starts
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            starts.push(tokio::time::Instant::now().into_std());
            starts.len() - 1
        };
        let mut progress = InProgress::begin(&self.log);
        let turn = self.turns.get(n).or_else(|| self.turns.last());
        let end = play(turn.unwrap_or(&Turn::until_cancelled()), &cancel).await;
        progress.ended = true;
        end.finish()
    }
}

/// What a turn comes to. A panic is begun only when all else is done, so that it does not look like an early drop.
enum End {
    Ok,
    Err(&'static str),
    Permanent(&'static str),
    Panic(&'static str),
}

impl End {
    #[expect(clippy::panic, reason = "panicking is what was asked for")]
    fn finish(self) -> Result<(), ServiceError> {
        match self {
            Self::Ok => Ok(()),
            Self::Err(message) => Err(message.into()),
            Self::Permanent(message) => Err(ServiceError::permanent(message)),
            Self::Panic(message) => panic!("{message}"),
        }
    }
}

async fn play(turn: &Turn, cancel: &CancellationToken) -> End {
    let mut turn = turn;
    loop {
        turn = match turn {
            Turn::Complete => return End::Ok,
            Turn::Fail(message) => return End::Err(message),
            Turn::FailForGood(message) => return End::Permanent(message),
            Turn::Panic(message) => return End::Panic(message),
            Turn::After(delay, then) => {
                tokio::time::sleep(*delay).await;
                then
            }
            Turn::WhenCancelled(then) => {
                cancel.cancelled().await;
                then
            }
            Turn::CancelItself(then) => {
                cancel.cancel();
                then
            }
            Turn::Hang => std::future::pending().await,
        };
    }
}

struct InProgress<'a> {
    log: &'a ScriptLog,
    ended: bool,
}

impl<'a> InProgress<'a> {
    fn begin(log: &'a ScriptLog) -> Self {
        if log.in_progress.fetch_add(1, SeqCst) > 0 {
            log.overlaps.fetch_add(1, SeqCst);
        }
        Self { log, ended: false }
    }
}

impl Drop for InProgress<'_> {
    fn drop(&mut self) {
        self.log.in_progress.fetch_sub(1, SeqCst);
        if !self.ended {
            self.log.dropped_early.fetch_add(1, SeqCst);
        }
    }
}
