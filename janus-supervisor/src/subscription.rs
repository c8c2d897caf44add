//! Events as a stream.

use crate::ServiceEvent;
use crate::shared::Shared;
use futures_core::Stream;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Weak;
use std::task::{Context, Poll, ready};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::ReusableBoxFuture;

/// The events of all services, from the subscription on: what [`subscribe`](crate::JanusSupervisor::subscribe) returns.
///
/// Those of one service come in order. A subscriber that does not keep up slows nobody down: it loses the oldest, and
/// [`missed`](Self::missed) says how many; the numbers of the events (`seq`) show where. The stream ends when the
/// supervisor, its services and its handles are gone.
///
/// [`recv`](Self::recv) waits for the next event; as a [`Stream`] it works with all that takes one.
#[must_use = "it holds what it has not been asked for yet"]
pub struct Subscription {
    shared: Weak<Shared>,
    next: ReusableBoxFuture<'static, (Result<ServiceEvent, RecvError>, Events)>,
    missed: u64,
}

type Events = Receiver<ServiceEvent>;

impl Subscription {
    pub(crate) fn new(events: Events, shared: Weak<Shared>) -> Self {
        Self {
            shared,
            next: ReusableBoxFuture::new(next(events)),
            missed: 0,
        }
    }

    /// The next event; `None` when there will be no more.
    ///
    /// # Cancel safety
    /// No event is lost: call it again.
    ///
    /// ```
    /// use janus_supervisor::{EventKind, JanusSupervisor, service_fn};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let supervisor = JanusSupervisor::with_defaults();
    /// let mut events = supervisor.subscribe();
    /// supervisor.spawn_service(service_fn("job", |_cancel| async { Ok(()) }))?;
    /// while let Some(event) = events.recv().await {
    ///     if let EventKind::Terminated { reason } = &event.kind {
    ///         assert_eq!(reason.to_string(), "completed");
    ///         break;
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn recv(&mut self) -> Option<ServiceEvent> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
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

impl Drop for Subscription {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.upgrade() {
            shared.unsubscribe();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SupervisorConfig;
    use std::sync::Arc;

    #[test]
    fn events_are_made_only_while_somebody_is_subscribed() {
        let shared = Arc::new(Shared::new(SupervisorConfig::default()));
        assert!(!shared.is_observed());
        let (one, other) = (shared.subscribe(), shared.subscribe());
        drop(one);
        assert!(shared.is_observed());
        drop(other);
        assert!(!shared.is_observed());
    }
}
