//! What a run can tell its supervisor without a parameter, as `sd_notify` does.
//!
//! Inside a run, also in code that it calls and on the thread of a
//! [`BlockingService`](crate::adapters::BlockingService), these functions reach the service that is being run. A task
//! or thread that the run spawns is another matter: give it a [`Notifier`]. Outside a supervised run they do nothing.
//!
//! ```
//! use janus_supervisor::{CancellationToken, Readiness, ServiceError, SpawnOptions, notify};
//! use std::time::Duration;
//!
//! async fn run(cancel: CancellationToken) -> Result<(), ServiceError> {
//!     notify::status("replaying the log");
//!     // ..
//!     notify::ready();
//!     while !cancel.is_cancelled() {
//!         notify::heartbeat();
//!         // .. a piece of work
//! #       break;
//!     }
//!     Ok(())
//! }
//!
//! let options = SpawnOptions::default()
//!     .with_readiness(Readiness::Notify)
//!     .with_start_timeout(Duration::from_secs(30))
//!     .with_watchdog(Duration::from_secs(10));
//! # let _ = (run, options);
//! ```

use crate::cell::ServiceCell;
use crate::driver::current::with_current;
use crate::driver::logged;
use std::fmt;
use std::sync::Arc;

/// Says that this run is ready: under [`Readiness::Notify`](crate::Readiness::Notify) the service is running from now
/// on. Repeating it is harmless. Outside a run, as in a task that one has spawned, nobody hears it, which is a line at
/// level debug: see [`current`].
pub fn ready() {
    if with_current(|cell| cell.say_ready(cell.run())).is_none() {
        logged(|| tracing::debug!("notify::ready() was called outside a run: nobody hears it"));
    }
}

/// Says that this run is alive: the [watchdog](crate::SpawnOptions::with_watchdog) begins to wait anew. Costs a look
/// at the clock, and the service's own lock twice. Outside a run as [`ready`].
pub fn heartbeat() {
    if with_current(|cell| cell.say_alive(cell.run())).is_none() {
        logged(|| tracing::debug!("notify::heartbeat() was called outside a run: nobody hears it"));
    }
}

/// Says what this run is doing, for people: it is in the snapshots until the next status or the end of the run.
pub fn status(text: impl Into<String>) {
    with_current(|cell| cell.say_status(cell.run(), text.into()));
}

/// Why this run was asked to end, once it was. Nobody asks a run that has failed a check, or has ended: what it has
/// left behind sees its token cancelled all the same.
#[must_use]
pub fn stop_reason() -> Option<StopReason> {
    with_current(|cell| cell.stop_reason()).flatten()
}

/// A notifier for the present run, for the tasks that it spawns. Outside a run: one that does nothing.
#[must_use]
pub fn current() -> Notifier {
    Notifier(with_current(|cell| (Arc::clone(cell), cell.run())))
}

/// Tells the supervisor about one run of a service, from anywhere. Cheap to clone.
///
/// When the run is over, it does nothing: it never speaks for a later run.
#[derive(Clone)]
pub struct Notifier(Option<(Arc<ServiceCell>, u32)>);

impl Notifier {
    /// As [`notify::ready`](ready).
    pub fn ready(&self) {
        if let Some((cell, run)) = &self.0 {
            cell.say_ready(*run);
        }
    }

    /// As [`notify::heartbeat`](heartbeat).
    pub fn heartbeat(&self) {
        if let Some((cell, run)) = &self.0 {
            cell.say_alive(*run);
        }
    }

    /// As [`notify::status`](status).
    pub fn status(&self, text: impl Into<String>) {
        if let Some((cell, run)) = &self.0 {
            cell.say_status(*run, text.into());
        }
    }

    /// As [`notify::stop_reason`](stop_reason).
    #[must_use]
    pub fn stop_reason(&self) -> Option<StopReason> {
        let (cell, run) = self.0.as_ref()?;
        (cell.run() == *run).then(|| cell.stop_reason()).flatten()
    }
}

impl fmt::Debug for Notifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let run = self.0.as_ref().map(|(cell, run)| (&cell.name, run));
        f.debug_tuple("Notifier").field(&run).finish()
    }
}

/// Why a run was asked to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StopReason {
    /// The supervisor shuts down.
    Shutdown,
    /// This service, or its group, is to end.
    Stop,
    /// It is to run anew.
    Restart,
    /// A sibling in its group has failed, and it is to run anew with it.
    Sibling,
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Shutdown => "shutdown",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Sibling => "sibling",
        })
    }
}
