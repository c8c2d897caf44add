//! What is asked of a contender.

use crate::{Work, Workload};

/// A way to supervise services.
pub trait Contender {
    /// Services that were started together.
    type Fleet: Fleet;

    /// Why it cannot do this at all, in a few words.
    fn cannot(workload: Workload) -> Option<&'static str> {
        let _whatever_it_is = workload;
        None
    }

    /// What is to be known about what it does otherwise than the others, in a few words.
    fn note(workload: Workload) -> Option<&'static str> {
        let _whatever_it_is = workload;
        None
    }

    /// One that is so many times slower than most does so many times less, so that a table is made in time. Rates are
    /// not touched.
    const SLOWER: u32 = 1;

    /// Starts these services, on the runtime that this is polled in. One that fails is to be run again: always, and as
    /// soon as the contender can.
    fn start<W: Work>(services: Vec<(String, W)>) -> impl Future<Output = Self::Fleet>;
}

/// Services that were started together.
pub trait Fleet {
    /// What lists them from another thread.
    type Lister: Lister;

    /// What lists them from another thread, if that can be had.
    fn lister(&self) -> Option<Self::Lister>;

    /// Asks all to stop, and waits until none is left.
    fn shutdown(self) -> impl Future<Output = ()>;
}

/// Lists the state of all services.
pub trait Lister: Send + 'static {
    /// Answers how many there are, after it has read the name and the state of each.
    fn list(&self) -> usize;
}

/// Nothing can be listed.
impl Lister for () {
    fn list(&self) -> usize {
        0
    }
}
