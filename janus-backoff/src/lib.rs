//! When to try again, and when to stop trying.
//!
//! ```text
//!   failure ──▶ BackoffState::next_backoff(now) ──▶ Retry(delay)         wait, try again
//!                    │            │
//!                    │            └──────────────▶ CircuitOpen { .. }    give up, or try once, much later
//!                    ├─ BackoffConfig   how long, how often
//!                    ├─ Jitter          so that those who failed together do not retry together
//!                    └─ SlidingWindow   failures in the last minutes, in bounded memory
//! ```
//!
//! Everything here is a plain value. Nothing reads a clock (`now` is an argument), sleeps, or draws from a global
//! random source: the same seed gives the same schedule, on every machine and in every version.
//!
//! ```
//! use janus_backoff::{BackoffAction, BackoffConfig, BackoffState, Jitter};
//! use std::time::{Duration, Instant};
//!
//! let config = BackoffConfig::new(Duration::from_millis(100), Duration::from_secs(60))
//!     .with_jitter(Jitter::None)
//!     .with_circuit_breaker(3, Duration::from_secs(60));
//! config.validate()?;
//!
//! let mut backoff = BackoffState::new(config, 42);
//! let now = Instant::now();
//! assert_eq!(backoff.next_backoff(now), BackoffAction::Retry(Duration::from_millis(100)));
//! assert_eq!(backoff.next_backoff(now), BackoffAction::Retry(Duration::from_millis(200)));
//! assert_eq!(backoff.next_backoff(now), BackoffAction::CircuitOpen { failures: 3, max_retries: 3 });
//! # Ok::<(), janus_backoff::ConfigError>(())
//! ```
//!
//! # When to use this crate
//!
//! Wherever something is retried: it brings no runtime and no dependency that has one. To keep services running, use
//! `janus-supervisor`, which re-exports what its users need of this.
//!
//! # Features
//!
//! - `serde` (off by default): [`BackoffConfig`] and [`Jitter`] in configuration files, with durations as people write
//!   them (`"250ms"`, `"5m"`) and errors that name the field, the value and the rule.

mod config;
mod jitter;
mod random;
#[cfg(feature = "serde")]
mod serde_impl;
mod state;
mod window;

pub use config::{BackoffConfig, ConfigError};
pub use jitter::Jitter;
pub use state::{BackoffAction, BackoffState};
pub use window::SlidingWindow;

#[cfg(feature = "serde")]
pub use serde_impl::HumanDuration;
