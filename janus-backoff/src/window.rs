//! Events inside a sliding period, in bounded memory.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Counts events inside a sliding period, and remembers no more of them than it needs to answer "are there `limit` of
/// them?".
///
/// An event that is exactly `period` old still counts, as in Erlang/OTP's supervisor. Memory is bounded by `limit`
/// instants whatever happens; nothing is allocated before the first event.
#[derive(Debug, Clone, Default)]
pub struct SlidingWindow {
    events: VecDeque<Instant>,
}

impl SlidingWindow {
    /// An empty window.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            events: VecDeque::new(),
        }
    }

    /// Records an event and returns how many there are inside the period, itself included: at most `limit`.
    ///
    /// A `now` before the last event counts as that event's time. A `limit` of 0 records nothing.
    pub fn record(&mut self, now: Instant, period: Duration, limit: u32) -> u32 {
        let now = self.clamped(now);
        self.forget_older(now, period);
        while self.len() >= limit {
            if self.events.pop_front().is_none() {
                return 0;
            }
        }
        self.events.push_back(now);
        self.len()
    }

    /// Records an event if there are clearly less than `limit` of them inside the period then, and returns whether.
    /// Otherwise nothing has changed, and [`record`](Self::record) knows. Counts nothing, and forgets what is too old
    /// only when it needs the room.
    #[inline]
    pub(crate) fn record_below(&mut self, now: Instant, period: Duration, limit: u32) -> bool {
        let now = self.clamped(now);
        if self.events.len() == self.events.capacity() {
            self.forget_older(now, period);
        }
        let below = self.len().saturating_add(1) < limit;
        if below {
            self.events.push_back(now);
        }
        below
    }

    /// How many events are inside the period that ends at `now`. A `now` before the last event counts as that event's
    /// time.
    #[must_use]
    pub fn count(&self, now: Instant, period: Duration) -> u32 {
        let now = self.clamped(now);
        // In order of time, so all the old ones stand in front.
        let old = start_of(now, period).map_or(0, |start| {
            self.events.partition_point(|event| *event < start)
        });
        saturating_u32(self.events.len() - old)
    }

    /// Forgets everything. Keeps no more memory than it has.
    pub fn clear(&mut self) {
        self.events.clear();
    }

    /// Whether it remembers nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    #[inline]
    fn clamped(&self, now: Instant) -> Instant {
        self.events.back().map_or(now, |last| now.max(*last))
    }

    #[inline]
    fn len(&self) -> u32 {
        saturating_u32(self.events.len())
    }

    fn forget_older(&mut self, now: Instant, period: Duration) {
        let Some(start) = start_of(now, period) else {
            return;
        };
        if self.events.back().is_some_and(|event| *event < start) {
            self.events.clear();
        }
        while self.events.front().is_some_and(|event| *event < start) {
            self.events.pop_front();
        }
    }
}

/// When the period began that ends now. `None`: before all that an [`Instant`] can tell.
fn start_of(now: Instant, period: Duration) -> Option<Instant> {
    now.checked_sub(period)
}

fn saturating_u32(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn t0() -> Instant {
        #[expect(
            clippy::disallowed_methods,
            reason = "a test needs one instant to count from"
        )]
        Instant::now()
    }

    #[test]
    fn what_is_too_old_makes_room_before_more_is_asked_for() {
        let (t0, mut window) = (t0(), SlidingWindow::new());
        assert!(window.record_below(t0, S, 1_000));
        let room = window.events.capacity();
        while window.events.len() < room {
            assert!(window.record_below(t0, S, 1_000));
        }
        assert!(window.record_below(t0 + 2 * S, S, 1_000));
        assert_eq!((window.events.len(), window.events.capacity()), (1, room));
    }

    #[test]
    fn counts_up_to_the_edge_of_the_period_and_not_beyond() {
        let (t0, mut window) = (t0(), SlidingWindow::new());
        assert_eq!(window.record(t0, 10 * S, 5), 1);
        assert_eq!(window.record(t0 + 10 * S, 10 * S, 5), 2);
        assert_eq!(window.count(t0 + 10 * S, 10 * S), 2);
        assert_eq!(
            window.count(t0 + 10 * S + Duration::from_nanos(1), 10 * S),
            1
        );
        assert_eq!(window.record(t0 + 21 * S, 10 * S, 5), 1);
    }

    #[test]
    fn remembers_no_more_than_the_limit() {
        let (t0, mut window) = (t0(), SlidingWindow::new());
        for _ in 0..1000 {
            assert!(window.record(t0, S, 3) <= 3);
        }
        assert_eq!(window.events.len(), 3);
        assert_eq!(window.record(t0, S, 0), 0);
        assert!(window.is_empty());
    }

    #[test]
    fn a_clock_that_goes_backwards_is_clamped() {
        let (t0, mut window) = (t0() + 100 * S, SlidingWindow::new());
        assert_eq!(window.record(t0, S, 9), 1);
        assert_eq!(window.record(t0 - 50 * S, S, 9), 2);
        assert_eq!(window.count(t0 - 50 * S, S), 2);
        assert_eq!(window.count(t0 + 2 * S, S), 0);
    }
}
