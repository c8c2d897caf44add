//! What nobody thought of: settings, names and histories that are made at random, against what must hold of all of
//! them.
//!
//! Each test is a target of bolero's. As one of all tests it takes what lies in `__fuzz__/<target>/corpus` and a fixed
//! number of random inputs; `cargo xtask fuzz --for 5m` goes on for longer. A failure names the seed that repeats it,
//! after it has made the input as small as it can. An input that has found something goes into the corpus.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod config;
mod edits;
#[path = "../../janus-metrics-otel/tests/exposition/parser.rs"]
mod exposition;
mod group;
mod ledger;
mod letters;
mod lifecycle;
mod machine;
mod metrics;
mod names;

use std::time::{Duration, Instant};

/// A moment to count from, with room before it for clocks that go backwards.
#[expect(
    clippy::disallowed_methods,
    reason = "a test needs one instant to count from"
)]
fn t0() -> Instant {
    Instant::now() + Duration::from_secs(1_000)
}
