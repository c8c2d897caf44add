//! What can go wrong: in a service, in spawning one, in the supervisor.

use crate::cell::ServiceCell;
use crate::machine::Checks;
use crate::{
    BoxError, ConfigError, ErrorChain, Exit, Failure, FailureKind, Intensity, ServicePhase,
    ShutdownReport, TerminationReason,
};
use std::any::Any;
use std::error::Error;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// Why a run failed: any error at all, and whether it is worth another try.
///
/// `?` converts any std, thiserror or anyhow error that is `Send + Sync` into one, and `"text".into()` makes one of
/// text. It shows the whole chain of causes: `outer: middle: root`. Like anyhow's, it is not an `Error` itself, or `?`
/// could not convert into it; [`error`](Self::error) is one.
///
/// ```
/// use janus_supervisor::ServiceError;
///
/// fn port(text: &str) -> Result<u16, ServiceError> {
///     let port = text.parse::<u16>()?; // worth another try
///     if port == 0 {
///         return Err(ServiceError::permanent("the port is 0")); // not: no policy retries it
///     }
///     Ok(port)
/// }
///
/// assert_eq!(port("x").unwrap_err().to_string(), "invalid digit found in string");
/// assert!(port("0").unwrap_err().is_permanent());
/// ```
pub struct ServiceError {
    error: BoxError,
    outlook: Outlook,
}

/// Whether another run may end better.
///
/// A word long, as all else in a [`ServiceError`]: padding is slow to move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
enum Outlook {
    Temporary,
    Permanent,
}

impl ServiceError {
    /// An error that another run may not meet again. The same as `error.into()`.
    pub fn new(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            error: error.into(),
            outlook: Outlook::Temporary,
        }
    }

    /// An error that every run would meet again, such as a bad configuration: it is never retried, whatever the policy.
    /// (A group that fails with a child may run again, and all in it.)
    pub fn permanent(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            outlook: Outlook::Permanent,
            ..Self::new(error)
        }
    }

    /// Whether it is never retried.
    #[must_use]
    pub const fn is_permanent(&self) -> bool {
        matches!(self.outlook, Outlook::Permanent)
    }

    /// The error itself, to downcast or to walk.
    #[must_use]
    pub fn error(&self) -> &(dyn Error + Send + Sync + 'static) {
        &*self.error
    }
}

impl<E: Into<Box<dyn Error + Send + Sync>>> From<E> for ServiceError {
    fn from(error: E) -> Self {
        Self::new(error)
    }
}

/// How a run ended by itself: an [`Exit`] whose error nobody shares yet. As a [`ServiceError`], without padding.
#[derive(Debug)]
pub(crate) enum RunEnd {
    Clean,
    Failed(BoxError),
    Panicked(BoxError),
    Permanent(BoxError),
}

impl From<ServiceError> for RunEnd {
    #[inline]
    fn from(ServiceError { error, outlook }: ServiceError) -> Self {
        match outlook {
            Outlook::Temporary => Self::Failed(error),
            Outlook::Permanent => Self::Permanent(error),
        }
    }
}

impl From<RunEnd> for Exit {
    fn from(end: RunEnd) -> Self {
        match end {
            RunEnd::Clean => Self::Clean,
            RunEnd::Failed(error) => Self::Failed(Failure::new(FailureKind::Error, error)),
            RunEnd::Panicked(error) => Self::Failed(Failure::new(FailureKind::Panic, error)),
            RunEnd::Permanent(error) => Self::Permanent(Failure::new(FailureKind::Error, error)),
        }
    }
}

impl From<ServiceError> for Exit {
    fn from(error: ServiceError) -> Self {
        RunEnd::from(error).into()
    }
}

impl fmt::Display for ServiceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        ErrorChain(&*self.error).fmt(f)
    }
}

impl fmt::Debug for ServiceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceError")
            .field("error", &format_args!("{self}"))
            .field("permanent", &self.is_permanent())
            .finish()
    }
}

/// The error that a panicking run failed with: what it said, as far as that is text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("panicked: {message}")]
pub struct PanicError {
    message: String,
}

impl PanicError {
    /// What the panic said.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn from_payload(payload: Box<dyn Any + Send>) -> Self {
        let message = match payload.downcast::<String>() {
            Ok(text) => *text,
            Err(payload) => match payload.downcast::<&'static str>() {
                Ok(text) => (*text).to_owned(),
                Err(payload) => {
                    // A value of the user's: its `Drop` may panic, and then that panic's value may, and so on: that one
                    // is left alone.
                    if let Err(another) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
                        std::mem::forget(another);
                    }
                    "with a value that is not text".to_owned()
                }
            },
        };
        Self { message }
    }
}

/// Why the supervisor dropped a run that had not ended: it failed a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckError {
    /// It was not ready in time.
    #[error("not ready within {0:?}")]
    NotReady(Duration),
    /// It has sent no heartbeat for this long.
    #[error("no heartbeat for {0:?}")]
    NoHeartbeat(Duration),
}

impl CheckError {
    pub(crate) fn new(kind: FailureKind, checks: Checks) -> Self {
        match kind {
            FailureKind::StartTimeout => Self::NotReady(checks.start_timeout.unwrap_or_default()),
            _ => Self::NoHeartbeat(checks.watchdog.unwrap_or_default()),
        }
    }
}

/// Why a service could not be restarted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RestartError {
    /// It has terminated, perhaps because it was asked to. Spawn it again; [`restart`](crate::ServiceHandle::restart)
    /// says when it can begin anew without that.
    #[error("cannot restart service {name:?}: it has terminated: {reason}")]
    Terminated {
        /// The name.
        name: String,
        /// Why it has terminated.
        reason: TerminationReason,
    },
    /// Another run has begun, and has failed already.
    #[error("service {name:?} was restarted and has failed again: {error}")]
    Failed {
        /// The name.
        name: String,
        /// What it failed with.
        error: String,
    },
}

/// Why a service could not be spawned. The service is dropped; nothing else has changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpawnError {
    /// A service of that name is registered and has not terminated.
    #[error("a service named {name:?} is {phase} already: names of live services must differ")]
    DuplicateName {
        /// The name.
        name: String,
        /// What the other service is doing.
        phase: ServicePhase,
    },
    /// The name breaks a rule.
    #[error("invalid service name {name:?}: {rule}")]
    InvalidName {
        /// The name.
        name: String,
        /// The rule it breaks.
        rule: &'static str,
    },
    /// The backoff configuration is invalid.
    #[error("invalid backoff configuration of service {name:?}: {source}")]
    InvalidConfig {
        /// The name of the service.
        name: String,
        /// What is wrong.
        source: ConfigError,
    },
    /// The options, or the rules of a group, contradict each other.
    #[error("invalid options of {name:?}: {rule}")]
    InvalidOptions {
        /// The name of the service or group.
        name: String,
        /// The rule they break.
        rule: &'static str,
    },
    /// It is to start after a service that is not registered.
    #[error("cannot spawn {name:?} after {dependency:?}: {}", no_dependency(.dependency))]
    UnknownDependency {
        /// The name of the service.
        name: String,
        /// The name that nobody has.
        dependency: String,
    },
    /// It would have to start after itself.
    #[error("cannot spawn {name:?}: it would have to start after itself, by way of {}", .path.join(" after "))]
    DependencyCycle {
        /// The name of the service.
        name: String,
        /// The names on the way round, the service's own at the end.
        path: Vec<String>,
    },
    /// The supervisor is shutting down, or has.
    #[error("cannot spawn service {name:?}: the supervisor is shutting down")]
    ShuttingDown {
        /// The name of the service.
        name: String,
    },
    /// There is no tokio runtime to run it on.
    #[error("cannot spawn service {name:?}: not inside a tokio runtime")]
    NoRuntime {
        /// The name of the service.
        name: String,
    },
    /// The runtime has no time driver, without which nothing can be waited for.
    #[error(
        "cannot spawn service {name:?}: the tokio runtime has no time driver; build it with enable_time or enable_all"
    )]
    NoTimeDriver {
        /// The name of the service.
        name: String,
    },
    /// The runtime has been shut down.
    #[error("cannot spawn service {name:?}: its tokio runtime has been shut down")]
    RuntimeGone {
        /// The name of the service.
        name: String,
    },
    /// The service's `name()`, `take_name()` or `restart_policy()` panicked.
    #[error("cannot spawn {}: its name() or restart_policy() {source}", shown(.name))]
    Panicked {
        /// The name of the service, if that is known: in a group its path, with `?` for an unknown name.
        name: Option<String>,
        /// What the panic said.
        source: PanicError,
    },
}

fn no_dependency(name: &str) -> &'static str {
    if name.contains('/') {
        "what is inside a group cannot be named, only the group"
    } else {
        "there is no service of that name"
    }
}

fn shown(name: &Option<String>) -> String {
    match name {
        Some(name) => format!("service {name:?}"),
        None => "a service".to_owned(),
    }
}

impl SpawnError {
    /// The same, about the service at this path.
    pub(crate) fn at(mut self, path: &str) -> Self {
        if let Self::InvalidName { name, .. } | Self::InvalidOptions { name, .. } = &mut self {
            path.clone_into(name);
        }
        self
    }
}

/// Why a service could not be removed. Nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RemoveError {
    /// There is no service of that name.
    #[error("there is no service named {name:?}")]
    Unknown {
        /// The name.
        name: String,
    },
    /// The service has not terminated.
    #[error(
        "cannot remove service {name:?}: it is {phase}; only a terminated service can be removed"
    )]
    StillAlive {
        /// The name.
        name: String,
        /// What it is doing.
        phase: ServicePhase,
    },
}

/// Why the supervisor could not do its work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SupervisorError {
    /// The handlers for SIGTERM and SIGINT (Ctrl-C) could not be installed.
    #[error("cannot install the handlers for termination signals: {source}")]
    SignalHandler {
        /// What the system or the runtime said.
        source: io::Error,
    },
    /// The supervisor's [`Intensity`](crate::Intensity) was exceeded, and it has shut down.
    #[error("the supervisor gave up: {source}")]
    GaveUp {
        /// Which service it was, and what had happened to it.
        source: GroupError,
        /// How the shutdown went.
        report: ShutdownReport,
    },
}

/// Why a group failed as a whole. Its causes are the last failure of the child and what caused that.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum GroupError {
    /// A child was to be restarted once more than is tolerated.
    IntensityExceeded {
        /// The child: its path.
        child: String,
        /// What is tolerated.
        intensity: Intensity,
        /// How often the child had been started by then.
        starts: u32,
        /// The child's last failure, unless its last run ended cleanly.
        last_failure: Option<Failure>,
    },
    /// A child has given up for good, and the group cannot do without it.
    ChildLost {
        /// The child: its path.
        child: String,
        /// Why it ended.
        reason: TerminationReason,
        /// The child's last failure, if it has failed.
        last_failure: Option<Failure>,
    },
}

impl GroupError {
    pub(crate) fn intensity_exceeded(child: &ServiceCell, intensity: Intensity) -> Self {
        let (starts, last_failure) = child.read(|lifecycle| {
            // After a clean end, an earlier failure is not what led to this.
            let has_failed = lifecycle.attempt() > 0;
            let failure = lifecycle.last_failure().filter(|_| has_failed).cloned();
            (lifecycle.start_count(), failure)
        });
        Self::IntensityExceeded {
            child: child.name.to_string(),
            intensity,
            starts,
            last_failure,
        }
    }

    pub(crate) fn child_lost(child: &ServiceCell) -> Self {
        let (reason, last_failure) = child.read(|lifecycle| {
            let reason = lifecycle.termination_reason().cloned();
            (reason, lifecycle.last_failure().cloned())
        });
        Self::ChildLost {
            child: child.name.to_string(),
            reason: reason.unwrap_or(TerminationReason::Aborted),
            last_failure,
        }
    }
}

impl fmt::Display for GroupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::IntensityExceeded {
                child,
                intensity,
                starts,
                ..
            } => {
                let plural = if *starts == 1 { "" } else { "s" };
                write!(
                    f,
                    "more than {intensity}: {child} was to run again after {starts} start{plural}"
                )
            }
            Self::ChildLost { child, reason, .. } => match reason {
                // The failure itself follows, as the cause.
                TerminationReason::Unrecoverable(_) => write!(f, "{child} has failed for good"),
                reason => write!(f, "{child} has failed for good: {reason}"),
            },
        }
    }
}

impl Error for GroupError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let (Self::IntensityExceeded { last_failure, .. } | Self::ChildLost { last_failure, .. }) =
            self;
        Some(last_failure.as_ref()?.error())
    }
}
