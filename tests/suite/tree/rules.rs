//! When a group ends by itself: significance, intensity at the root, what is refused.

mod ends;
mod paths;
mod refused;
mod root;
mod significance;

use super::order::{assert_all_over, ended, scene_with, started, told};
use super::*;
use janus_supervisor::{
    AutoShutdown, CancellationToken, EventKind, RestartPolicy, ServiceError, ShutdownCause,
    SpawnOptions, service_fn,
};

fn significant() -> SpawnOptions {
    SpawnOptions::default().significant()
}

/// A service whose only run ends so, after 10 ms, whatever it is told.
fn ends(name: &str, policy: RestartPolicy, turn: Turn) -> Script {
    Script::new(name, [turn.after(ms(10)), Turn::until_cancelled()]).policy(policy)
}

/// The ways in which a run ends by itself.
const ENDS: [Turn; 4] = [
    Turn::Complete,
    Turn::Fail("x"),
    Turn::FailForGood("x"),
    Turn::Panic("x"),
];
