//! What the supervisor is to its own services: a dynamic one-for-one group.

use crate::error::GroupError;
use crate::machine::{AutoShutdown, ChildEnd, Intensity, Remaining};
use crate::report::ShutdownCause;
use janus_backoff::SlidingWindow;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

/// Who is left, how often they were restarted, and what made the supervisor fail.
#[derive(Debug)]
pub(crate) struct RootGroup {
    pub(crate) auto_shutdown: AutoShutdown,
    pub(crate) intensity: Option<Intensity>,
    counts: Mutex<(Remaining<GroupError>, SlidingWindow)>,
    gave_up: OnceLock<GroupError>,
    lost: OnceLock<GroupError>,
}

impl RootGroup {
    /// None, if there is nothing to count.
    pub(crate) fn new(intensity: Option<Intensity>, auto_shutdown: AutoShutdown) -> Option<Self> {
        let counts = (Remaining::new(auto_shutdown), SlidingWindow::new());
        let needed = intensity.is_some() || auto_shutdown != AutoShutdown::Never;
        needed.then(|| Self {
            auto_shutdown,
            intensity,
            counts: Mutex::new(counts),
            gave_up: OnceLock::new(),
            lost: OnceLock::new(),
        })
    }

    /// A service was registered.
    pub(crate) fn registered(&self, significant: bool) {
        self.counts().0.add(significant);
    }

    /// A service has ended. Returns the cause of the shutdown that this is, if it is one; `because` says what has
    /// failed, if it has.
    pub(crate) fn ended(
        &self,
        significant: bool,
        end: ChildEnd,
        because: impl FnOnce() -> GroupError,
    ) -> Option<ShutdownCause> {
        let remaining = &mut self.counts().0;
        if !remaining.end(significant, end, because) {
            return None;
        }
        Some(match remaining.lost() {
            Some(lost) => {
                self.lost.get_or_init(|| lost.clone());
                ShutdownCause::WorkFailed
            }
            None => ShutdownCause::WorkDone,
        })
    }

    /// A service is to run again. Returns whether that is once too often; `because` says what led to it.
    pub(crate) fn is_exceeded(
        &self,
        now: Instant,
        because: impl FnOnce(Intensity) -> GroupError,
    ) -> bool {
        let Some(intensity) = self.intensity else {
            return false;
        };
        let exceeded = intensity.is_exceeded_by(&mut self.counts().1, now);
        if exceeded {
            self.gave_up.get_or_init(|| because(intensity));
        }
        exceeded
    }

    /// Why the supervisor gave up, if it did.
    pub(crate) fn gave_up(&self) -> Option<&GroupError> {
        self.gave_up.get()
    }

    /// Why its work failed, if it did.
    pub(crate) fn lost(&self) -> Option<&GroupError> {
        self.lost.get()
    }

    fn counts(&self) -> MutexGuard<'_, (Remaining<GroupError>, SlidingWindow)> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
