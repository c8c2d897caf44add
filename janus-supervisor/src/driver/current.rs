//! Which service's run is being polled on this thread: how code inside `run` reaches its own supervisor without a parameter.

use crate::cell::{Hold, ServiceCell};
use std::cell::RefCell;
use std::sync::Arc;

thread_local! {
    static CURRENT: RefCell<Option<Arc<ServiceCell>>> = const { RefCell::new(None) };
}

/// A service's place in [`CURRENT`]: swapped in for the length of one poll, so that a poll costs no reference count.
#[derive(Debug)]
pub(super) struct Ambient(Option<Arc<ServiceCell>>);

impl Ambient {
    pub(super) fn new(cell: Arc<ServiceCell>) -> Self {
        Self(Some(cell))
    }

    /// Calls `act` with this service as the current one. The one before it, if polls nest, is put back, also by a panic.
    pub(super) fn scope<R>(&mut self, act: impl FnOnce() -> R) -> R {
        let _inside = Inside::enter(self);
        act()
    }

    fn swap(&mut self) {
        // Fails only while the thread is being torn down, when nobody can ask any more.
        let _gone =
            CURRENT.try_with(|current| std::mem::swap(&mut *current.borrow_mut(), &mut self.0));
    }
}

/// Swaps on entry, and back when dropped.
struct Inside<'a>(&'a mut Ambient);

impl<'a> Inside<'a> {
    fn enter(ambient: &'a mut Ambient) -> Self {
        ambient.swap();
        Self(ambient)
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.swap();
    }
}

/// Calls `act` with the service whose run is being polled on this thread, if one is.
pub(crate) fn with_current<R>(act: impl FnOnce(&Arc<ServiceCell>) -> R) -> Option<R> {
    // Not within the borrow: what `act` wakes may be other people's code.
    let current = CURRENT
        .try_with(|current| current.borrow().clone())
        .ok()
        .flatten();
    current.as_ref().map(act)
}

/// Keeps the current run from counting as over until what is answered is dropped; nothing outside a run.
pub(crate) fn hold() -> Option<Hold> {
    with_current(ServiceCell::hold)
}
