//! One timer for one task, made only when it is first needed.

use crate::clock;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Instant;
use tokio::task::coop;
use tokio::time::Sleep;

/// Waits for a deadline that may change with every poll.
///
/// A healthy service has nothing to wait for, so most tasks never make a timer; and a deadline that has passed costs no
/// timer either.
#[derive(Debug, Default)]
pub(super) struct Timer(Option<Pin<Box<Sleep>>>);

impl Timer {
    /// Whether there is something to wait for that the runtime knows of.
    pub(super) const fn is_set(&self) -> bool {
        self.0.is_some()
    }

    /// Ready when that time has come.
    pub(super) fn poll(&mut self, at: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let target = tokio::time::Instant::from_std(at);
        let sleep = match &mut self.0 {
            Some(sleep) => {
                if sleep.deadline() != target {
                    if at <= clock::now() {
                        // The runtime's timer would only fire at its next tick.
                        self.0 = None;
                        return Poll::Ready(());
                    }
                    sleep.as_mut().reset(target);
                }
                sleep
            }
            None if at <= clock::now() => return Poll::Ready(()),
            none => none.insert(Box::pin(tokio::time::sleep_until(target))),
        };
        // Without the budget: a run that always uses it up must not hold up its own deadline.
        let fired = pin!(coop::unconstrained(sleep.as_mut())).poll(cx);
        if fired.is_ready() {
            self.0 = None;
        }
        fired
    }
}
