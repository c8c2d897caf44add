//! Events as a stream.

use crate::ServiceEvent;
use futures_core::Stream;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::ReusableBoxFuture;

/// The events of all services, from the subscription on: what [`subscribe`](crate::JanusSupervisor::subscribe) answers.
///
/// Those of one service come in order. A subscriber that does not keep up slows nobody down: it loses the oldest, and
/// [`missed`](Self::missed) says how many; the numbers of the events (`seq`) show where. The stream ends when the
/// supervisor, its services and its handles are gone.
pub struct Subscription {
    next: ReusableBoxFuture<'static, (Result<ServiceEvent, RecvError>, Events)>,
    missed: u64,
}

type Events = Receiver<ServiceEvent>;

impl Subscription {
    pub(crate) fn new(events: Events) -> Self {
        Self {
            next: ReusableBoxFuture::new(next(events)),
            missed: 0,
        }
    }

    /// How many events were lost so far, because this subscriber was too slow.
    #[must_use]
    pub const fn missed(&self) -> u64 {
        self.missed
    }
}

async fn next(mut events: Events) -> (Result<ServiceEvent, RecvError>, Events) {
    (events.recv().await, events)
}

impl Stream for Subscription {
    type Item = ServiceEvent;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<ServiceEvent>> {
        loop {
            let (event, events) = ready!(self.next.poll(cx));
            self.next.set(next(events));
            match event {
                Ok(event) => return Poll::Ready(Some(event)),
                Err(RecvError::Closed) => return Poll::Ready(None),
                Err(RecvError::Lagged(missed)) => self.missed += missed,
            }
        }
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("missed", &self.missed)
            .finish_non_exhaustive()
    }
}
