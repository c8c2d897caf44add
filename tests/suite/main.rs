//! One binary, one module a topic. Each test names the behaviour that it shows; a number such as B11 is the behaviour's
//! number in `BEHAVIOURS.md`.

mod adapters;
mod bad_input;
mod breaker;
mod cooldown;
mod hardening;
mod live;
mod log;
mod metrics;
mod observers;
mod panics;
mod process;
mod prometheus_server;
mod restart;
mod shutdown;
mod signals;
mod smoke;
mod storm;
mod tree;
