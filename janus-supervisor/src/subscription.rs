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
/// Those of one service come in order. A subscriber that does not keep up slows nobody down: it loses the oldest, and is told how
/// many. The stream ends when the supervisor, its services and its handles are gone.
pub struct Subscription(ReusableBoxFuture<'static, (Result<ServiceEvent, RecvError>, Events)>);

type Events = Receiver<ServiceEvent>;

/// What a [`Subscription`] yields.
#[derive(Debug, Clone)]
pub enum Subscribed {
    /// Something that happened.
    Event(ServiceEvent),
    /// So many events were lost, because this subscriber was too slow.
    Missed(u64),
}

impl Subscription {
    pub(crate) fn new(events: Events) -> Self {
        Self(ReusableBoxFuture::new(next(events)))
    }
}

async fn next(mut events: Events) -> (Result<ServiceEvent, RecvError>, Events) {
    (events.recv().await, events)
}

impl Stream for Subscription {
    type Item = Subscribed;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Subscribed>> {
        let (event, events) = ready!(self.0.poll(cx));
        self.0.set(next(events));
        Poll::Ready(match event {
            Ok(event) => Some(Subscribed::Event(event)),
            Err(RecvError::Lagged(missed)) => Some(Subscribed::Missed(missed)),
            Err(RecvError::Closed) => None,
        })
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").finish_non_exhaustive()
    }
}
