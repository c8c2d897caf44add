//! What the failures of one service come to, at no cost before the first.

use janus_backoff::{BackoffAction, BackoffConfig, BackoffState};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A [`BackoffState`] that is made at the first failure: most services never have one.
#[derive(Debug)]
pub(crate) enum Retries {
    Untried {
        config: Arc<BackoffConfig>,
        seed: u64,
    },
    Tried(Box<BackoffState>),
}

impl Retries {
    pub(crate) const fn new(config: Arc<BackoffConfig>, seed: u64) -> Self {
        Self::Untried { config, seed }
    }

    /// The same with nothing behind it.
    pub(super) fn anew(&self, seed: u64) -> Self {
        let config = match self {
            Self::Untried { config, .. } => config,
            Self::Tried(state) => state.shared_config(),
        };
        Self::new(Arc::clone(config), seed)
    }

    pub(super) const fn tried(&self) -> Option<&BackoffState> {
        match self {
            Self::Untried { .. } => None,
            Self::Tried(state) => Some(state),
        }
    }

    const fn tried_mut(&mut self) -> Option<&mut BackoffState> {
        match self {
            Self::Untried { .. } => None,
            Self::Tried(state) => Some(state),
        }
    }

    /// Consecutive failures.
    pub(super) fn attempt(&self) -> u32 {
        self.tried().map_or(0, BackoffState::attempt)
    }

    /// A run begins.
    pub(super) fn record_start(&mut self, now: Instant) {
        if let Some(state) = self.tried_mut() {
            state.record_start(now);
        }
    }

    /// When the present run will have lasted long enough to clear what was before it, if there is anything to clear.
    pub(super) fn cooldown_at(&self) -> Option<Instant> {
        self.tried()?.cooldown_at()
    }

    pub(super) fn maybe_reset_on_cooldown(&mut self, now: Instant) -> bool {
        let state = self.tried_mut();
        state.is_some_and(|state| state.maybe_reset_on_cooldown(now))
    }

    /// A run has failed.
    pub(super) fn next_backoff(&mut self, now: Instant) -> BackoffAction {
        match self {
            Self::Tried(state) => state.next_backoff(now),
            Self::Untried { config, seed } => {
                let mut state = BackoffState::new(Arc::clone(config), *seed);
                let action = state.next_backoff(now);
                *self = Self::Tried(Box::new(state));
                action
            }
        }
    }

    /// A run has failed. Where nothing is clearer than that the next follows at once, returns `true`. Otherwise nothing
    /// has changed.
    #[inline]
    pub(super) fn retry_at_once(&mut self, now: Instant) -> bool {
        // What one needs that has never failed is yet to be made.
        let state = self.tried_mut();
        state.is_some_and(|state| state.retry_at_once(now))
    }

    /// After how long an open breaker lets one run try.
    pub(super) fn trial_after(&self) -> Option<Duration> {
        self.tried()?.trial_after()
    }

    /// A run has ended cleanly. Returns how long to wait for the next.
    pub(super) fn record_clean_exit(&mut self) -> Duration {
        match self {
            Self::Untried { config, .. } => config.base_delay,
            Self::Tried(state) => state.record_clean_exit(),
        }
    }

    /// Whether there is any failure that still counts.
    pub(super) fn have_failed(&self, now: Instant) -> bool {
        self.tried().is_some_and(|state| {
            state.attempt() > 0 || state.trial_after().is_some() || state.recent_failures(now) > 0
        })
    }

    /// Forgets every failure.
    pub(super) fn reset(&mut self) {
        if let Some(state) = self.tried_mut() {
            state.reset();
        }
    }
}

impl From<BackoffState> for Retries {
    fn from(state: BackoffState) -> Self {
        Self::Tried(Box::new(state))
    }
}
