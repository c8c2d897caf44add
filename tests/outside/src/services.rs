//! The program's own services, errors and observer.

use janus_supervisor::adapters::ModuleState;
use janus_supervisor::{
    CancellationToken, EventKind, JanusService, Observer, RestartPolicy, RunOutcome, ServiceError,
    ServiceEvent,
};
use std::error::Error;
use std::fmt;
use std::num::ParseIntError;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};

/// An error with causes, as `thiserror` would write it.
#[derive(Debug)]
pub enum FeedError {
    Symbol {
        text: &'static str,
        source: ParseIntError,
    },
    Closed,
}

impl fmt::Display for FeedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Symbol { text, .. } => write!(f, "bad symbol {text:?}"),
            Self::Closed => f.write_str("the feed is closed"),
        }
    }
}

impl Error for FeedError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Symbol { source, .. } => Some(source),
            Self::Closed => None,
        }
    }
}

fn symbol(text: &'static str) -> Result<u32, FeedError> {
    text.parse()
        .map_err(|source| FeedError::Symbol { text, source })
}

/// Fails in one way after the other, then waits to be stopped.
#[derive(Debug, Default)]
pub struct Feed {
    runs: AtomicU32,
}

impl JanusService for Feed {
    fn name(&self) -> &str {
        "feed"
    }

    fn restart_policy(&self) -> RestartPolicy {
        RestartPolicy::Always
    }

    async fn run(&self, cancel: CancellationToken) -> Result<(), ServiceError> {
        match self.runs.fetch_add(1, SeqCst) {
            0 => {
                symbol("17x")?; // an error of this program's own
            }
            1 => {
                String::from_utf8(vec![0xff])?; // one of std's
            }
            2 => return Err("text".into()),
            3 => panic!("out of luck"),
            4 => return Ok(()),
            _ => cancel.cancelled().await,
        }
        Ok(())
    }
}

/// Can never work, and says so.
#[derive(Debug)]
pub struct Misconfigured;

impl JanusService for Misconfigured {
    fn name(&self) -> &str {
        "misconfigured"
    }

    fn restart_policy(&self) -> RestartPolicy {
        RestartPolicy::Always
    }

    async fn run(&self, _cancel: CancellationToken) -> Result<(), ServiceError> {
        Err(ServiceError::permanent(FeedError::Closed))
    }
}

/// Writes down what happens, one line an event.
#[derive(Debug, Default)]
pub struct Diary(Mutex<Vec<String>>);

impl Diary {
    pub fn lines_of(&self, service: &str) -> Vec<String> {
        let start = format!("{service} ");
        let lines = self.0.lock().map(|lines| lines.clone());
        let lines = lines.unwrap_or_default().into_iter();
        lines
            .filter_map(|line| line.strip_prefix(&start).map(str::to_owned))
            .collect()
    }
}

impl Observer for Diary {
    fn observe(&self, event: &ServiceEvent) {
        let what = match &event.kind {
            EventKind::Registered => "registered".to_owned(),
            EventKind::Running => "running".to_owned(),
            EventKind::RunEnded { outcome, .. } => match outcome {
                RunOutcome::Completed => "completed".to_owned(),
                RunOutcome::Failed(failure) => format!("failed by {}: {failure}", failure.kind()),
                RunOutcome::Cancelled(_) => "cancelled".to_owned(),
                RunOutcome::Aborted => "aborted".to_owned(),
                _ => "ended in a new way".to_owned(),
            },
            EventKind::BackingOff { attempt, .. } => format!("attempt {attempt}"),
            EventKind::Restarting => "restarting".to_owned(),
            EventKind::Recovered => "recovered".to_owned(),
            EventKind::BreakerOpened {
                failures,
                max_retries,
            } => format!("breaker {failures}/{max_retries}"),
            EventKind::Stopping => "stopping".to_owned(),
            EventKind::Terminated { reason } => format!("terminated: {reason}"),
            EventKind::Removed => "removed".to_owned(),
            _ => "something new".to_owned(),
        };
        if let Ok(mut lines) = self.0.lock() {
            let (service, run) = (&event.service, event.run);
            lines.push(format!("{service} {run} {what}"));
        }
    }
}

/// State that older code polls.
#[derive(Debug, Default)]
pub struct Shared {
    shutdown: AtomicBool,
    pub health: Mutex<Vec<String>>,
}

impl ModuleState for Shared {
    fn request_shutdown(&self) {
        self.shutdown.store(true, SeqCst);
    }

    fn is_shutdown_requested(&self) -> bool {
        self.shutdown.load(SeqCst)
    }

    fn report_health(&self, module: &str, healthy: bool, message: Option<&str>) {
        if let Ok(mut health) = self.health.lock() {
            health.push(format!("{module} {healthy} {message:?}"));
        }
    }
}
