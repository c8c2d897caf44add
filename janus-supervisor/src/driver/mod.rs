//! All that awaits: one task for each service, the drain, the signals. It carries out what the machine decides.

pub(crate) mod current;
pub(crate) mod drain;
mod panics;
pub(crate) mod service;
pub(crate) mod signals;
mod timer;

pub(crate) use panics::{caught, logged};
