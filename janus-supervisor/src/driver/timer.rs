//! One timer for one task, made only when it is first needed.

use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Instant;
use tokio::task::coop;
use tokio::time::Sleep;

/// Waits for a deadline that may change with every poll.
///
/// A healthy service has nothing to wait for, so most tasks never make a timer; and a deadline that has passed costs no timer
/// either.
#[derive(Debug, Default)]
pub(super) struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    /// What `sleep` is set to, unless it has fired.
    armed: Option<Instant>,
}

impl Timer {
    /// Ready when `deadline` is due; never without one. `now` is the time at which the deadline was set.
    pub(super) fn poll(
        &mut self,
        deadline: Option<Instant>,
        now: Instant,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let Some(at) = deadline else {
            return Poll::Pending;
        };
        if at <= now {
            // A crash loop without delay must leave room for its siblings: charge the task's budget, which yields now and then.
            return coop::poll_proceed(cx).map(|charge| charge.made_progress());
        }
        let target = tokio::time::Instant::from_std(at);
        let sleep = match &mut self.sleep {
            Some(sleep) => {
                if self.armed != Some(at) {
                    sleep.as_mut().reset(target);
                }
                sleep
            }
            none => none.insert(Box::pin(tokio::time::sleep_until(target))),
        };
        self.armed = Some(at);
        // Without the budget: a run that always uses it up must not hold up its own deadline.
        let fired = pin!(coop::unconstrained(sleep.as_mut())).poll(cx);
        if fired.is_ready() {
            self.armed = None;
        }
        fired
    }
}
