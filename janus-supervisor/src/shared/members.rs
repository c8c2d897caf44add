//! Who belongs to the fleet at present: each service's task, and whoever is about to add one.

use super::Shared;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use tokio::sync::Notify;

/// How many there are, and what tells that nobody is left.
#[derive(Debug, Default)]
pub(super) struct Members {
    count: AtomicUsize,
    none_left: Notify,
}

/// What all services share, for one who belongs to them: a drain waits until this is dropped.
pub(crate) struct Member(Arc<Shared>);

impl Shared {
    /// One more belongs to the fleet. A drain that begins from now on waits for it.
    pub(crate) fn join(self: &Arc<Self>) -> Member {
        self.members.count.fetch_add(1, SeqCst);
        Member(Arc::clone(self))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.members.count.load(SeqCst) == 0
    }

    /// Waits until nobody is left.
    pub(crate) async fn empty(&self) {
        loop {
            // Made before the look, so that the last one does not go between the look and the wait.
            let none_left = self.members.none_left.notified();
            if self.is_empty() {
                return;
            }
            none_left.await;
        }
    }
}

impl Deref for Member {
    type Target = Arc<Shared>;

    fn deref(&self) -> &Arc<Shared> {
        &self.0
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let members = &self.0.members;
        if members.count.fetch_sub(1, SeqCst) == 1 {
            crate::driver::logged(|| members.none_left.notify_waiters());
        }
    }
}
