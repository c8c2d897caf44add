//! Which service's run is being polled on this thread: how code inside `run` reaches its own supervisor without a
//! parameter.

use super::caught;
use crate::PanicError;
use crate::cell::{Hold, ServiceCell};
use std::cell::Cell;
use std::sync::Arc;

thread_local! {
    static CURRENT: Cell<Option<Arc<ServiceCell>>> = const { Cell::new(None) };
}

/// A service's place in [`CURRENT`]: swapped in for the length of one poll, so that a poll costs no reference count.
pub(crate) struct Ambient(Cell<Option<Arc<ServiceCell>>>);

impl Ambient {
    pub(super) fn new(cell: Arc<ServiceCell>) -> Self {
        Self(Cell::new(Some(cell)))
    }

    /// That of the service whose run is being polled on this thread, if one is, to be carried to another.
    pub(crate) fn here() -> Self {
        Self(Cell::new(with_current(Arc::clone)))
    }

    /// Makes it the current one until what is answered is dropped.
    pub(crate) fn enter(&mut self) -> Entered<'_> {
        self.swap();
        Entered(self)
    }

    /// Calls the user's code with this service as the current one. The one before it, if polls nest, is put back.
    ///
    /// # Errors
    /// As [`caught`].
    #[inline]
    pub(super) fn call<R>(&mut self, act: impl FnOnce() -> R) -> Result<R, PanicError> {
        self.swap();
        // Caught in here, so that a panic has nothing to pass by on its way.
        let result = caught(act);
        self.swap();
        result
    }

    fn swap(&mut self) {
        // Fails only while the thread is being torn down, when nobody can ask any more.
        let _gone = CURRENT.try_with(|current| current.swap(&self.0));
    }
}

/// Puts the service before it back.
pub(crate) struct Entered<'a>(&'a mut Ambient);

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.0.swap();
    }
}

/// Calls `act` with the service whose run is being polled on this thread, if one is.
pub(crate) fn with_current<R>(act: impl FnOnce(&Arc<ServiceCell>) -> R) -> Option<R> {
    // Put back before `act` is called: what that wakes may be other people's code, and ask again.
    let current = CURRENT
        .try_with(|current| {
            let cell = current.take();
            current.set(cell.clone());
            cell
        })
        .ok()
        .flatten();
    current.as_ref().map(act)
}

/// Keeps the current run from counting as over until what is answered is dropped; nothing outside a run.
pub(crate) fn hold() -> Option<Hold> {
    with_current(ServiceCell::hold)
}
