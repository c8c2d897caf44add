//! How others call the task of a service: what for, and its waker.

use atomic_waker::AtomicWaker;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::Waker;

/// What the task has not heard of yet, as a set of [`Call`]s, and what wakes it.
///
/// A call only says that there is something to hear; what that is stands in the cell, where whoever calls has put it
/// before.
#[derive(Debug)]
pub(crate) struct Calls {
    pending: AtomicU8,
    task: AtomicWaker,
}

/// What a task is called for, in the order in which calls are heard that have come together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Call {
    /// It is to stop, or has less time for that.
    Stop = 1,
    /// It is to start: the first call of all.
    Start = 2,
    /// Its grace is over.
    Abort = 4,
    /// Somebody wants another run, or its group has changed its mind.
    Wish = 8,
    /// The run has said something, or may begin.
    News = 16,
    /// Somebody waits for the first poll of the run, which is over when this is heard.
    Look = 32,
}

/// Some calls.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Heard(u8);

impl Heard {
    pub(crate) const fn only(call: Call) -> Self {
        Self(call as u8)
    }

    /// Takes out the one that is to be heard first.
    pub(crate) fn take_first(&mut self) -> Option<Call> {
        let first = Call::ALL
            .into_iter()
            .find(|call| self.0 & *call as u8 != 0)?;
        self.0 &= !(first as u8);
        Some(first)
    }

    pub(crate) const fn is_only(self, call: Call) -> bool {
        self.0 == call as u8
    }
}

impl Call {
    const ALL: [Self; 6] = [
        Self::Stop,
        Self::Start,
        Self::Abort,
        Self::Wish,
        Self::News,
        Self::Look,
    ];
}

impl Calls {
    /// For a task that is to start.
    pub(super) const fn new() -> Self {
        Self {
            pending: AtomicU8::new(Call::Start as u8),
            task: AtomicWaker::new(),
        }
    }

    pub(super) fn call(&self, call: Call) {
        self.pending.fetch_or(call as u8, Ordering::AcqRel);
        self.task.wake();
    }

    /// Whether there are calls that have not been heard yet.
    pub(super) fn are_pending(&self) -> bool {
        self.pending.load(Ordering::Acquire) != 0
    }

    /// The calls that have not been heard yet, if there are any: now they are.
    pub(super) fn take(&self) -> Option<Heard> {
        self.are_pending()
            .then(|| Heard(self.pending.swap(0, Ordering::AcqRel)))
    }

    /// Whether this one has not been heard yet: now it is.
    pub(super) fn take_one(&self, call: Call) -> bool {
        let one = call as u8;
        self.pending.load(Ordering::Acquire) & one != 0
            && self.pending.fetch_and(!one, Ordering::AcqRel) & one != 0
    }

    /// For the task itself, which looks again before it waits: these have yet to be heard.
    pub(super) fn put_back(&self, heard: Heard) {
        self.pending.fetch_or(heard.0, Ordering::AcqRel);
    }

    /// Has calls from now on wake the task. One that came before is there to take.
    pub(super) fn wake(&self, task: &Waker) {
        self.task.register(task);
    }

    /// Nobody listens any more. (A waker keeps its task's memory.)
    pub(super) fn end(&self) {
        drop(self.task.take());
    }
}
