//! Whether there is a storm.

use std::sync::Arc;
use tokio::sync::watch;

/// What a service in the storm does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weather {
    /// Everybody who is there runs, and waits.
    Calm,
    /// Everything that can go wrong does.
    Storm,
    /// The same, but nobody ignores cancellation, so that a shutdown finds everybody polite.
    Rain,
}

/// The weather over all services: they look up whenever they begin something.
#[derive(Debug, Clone)]
pub(crate) struct Sky(Arc<watch::Sender<Weather>>);

impl Sky {
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(Weather::Calm)))
    }

    pub(crate) fn turn(&self, weather: Weather) {
        self.0.send_replace(weather);
    }

    pub(crate) fn weather(&self) -> Weather {
        *self.0.borrow()
    }

    /// Waits until it is not calm.
    pub(crate) async fn no_longer_calm(&self) {
        let mut sky = self.0.subscribe();
        // Fails only when the sender is gone, and `self` has it.
        let _seen = sky.wait_for(|weather| *weather != Weather::Calm).await;
    }
}
