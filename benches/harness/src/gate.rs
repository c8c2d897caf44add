//! Waiting for many.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::{AcqRel, Relaxed};
use tokio::sync::Notify;

/// Opens when everybody has passed it.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    left: AtomicUsize,
    open: Notify,
}

impl Gate {
    pub(crate) fn of(n: usize) -> Self {
        Self {
            left: AtomicUsize::new(n),
            open: Notify::new(),
        }
    }

    /// One has passed.
    pub(crate) fn pass(&self) {
        if self.left.fetch_sub(1, AcqRel) == 1 {
            self.open.notify_one();
        }
    }

    /// Waits for all. For one who waits.
    pub(crate) async fn wait(&self) {
        if self.left.load(Relaxed) != 0 {
            self.open.notified().await;
        }
    }
}
