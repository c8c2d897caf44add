//! How long a crash loop without a delay goes on before it gives way to the rest of its runtime.
//!
//! As long as it likes would starve its siblings, and to give way after each run costs several times what a restart does. So a turn is as
//! long as it can be while everybody gets one in time: a loop that had to wait long for its next turn takes shorter ones.

use std::time::{Duration, Instant};

/// The turns of one crash loop, in restarts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Turns {
    /// How many there may be in a turn at present.
    length: u8,
    /// How many there were in this one.
    spent: u8,
    /// When the last one ended, if it gave way.
    gave_way_at: Option<Instant>,
}

impl Turns {
    /// Less than tokio's cooperative budget, of which the runs may need some.
    const LONGEST: u8 = 64;
    /// Within this time everybody should have had a turn: it is what tokio's timers tell apart.
    const ROUND: Duration = Duration::from_millis(1);

    /// A loop begins modestly: it may be one of a thousand.
    pub(crate) const fn new() -> Self {
        Self {
            length: 1,
            spent: 0,
            gave_way_at: None,
        }
    }

    /// A turn begins. `now` is asked only if it had to wait for that.
    #[inline]
    pub(crate) fn begin(&mut self, now: impl FnOnce() -> Instant) {
        self.spent = 0;
        if let Some(gave_way_at) = self.gave_way_at.take() {
            self.adapt(now().saturating_duration_since(gave_way_at));
        }
    }

    /// Whether another run may follow in this turn. If not, the turn is over.
    #[inline]
    pub(crate) fn goes_on(&mut self, now: Instant) -> bool {
        let goes_on = self.spent < self.length;
        if goes_on {
            self.spent += 1;
        } else {
            self.gave_way_at = Some(now);
        }
        goes_on
    }

    /// It has had to wait for so long.
    fn adapt(&mut self, waited: Duration) {
        if waited > Self::ROUND {
            self.length = (self.length / 2).max(1);
        } else if waited < Self::ROUND / 2 {
            self.length = (self.length * 2).min(Self::LONGEST);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes so many turns, and has to wait after each for so long. Answers how many restarts there were in the last.
    fn take(turns: &mut Turns, n: u32, wait: Duration) -> u32 {
        #[expect(
            clippy::disallowed_methods,
            reason = "a test needs one instant to count from"
        )]
        let mut now = Instant::now();
        let mut restarts = 0;
        for _ in 0..n {
            turns.begin(|| now);
            restarts = 0;
            while turns.goes_on(now) {
                restarts += 1;
            }
            now += wait;
        }
        turns.begin(|| now);
        restarts
    }

    #[test]
    fn alone_it_takes_long_turns_and_among_many_short_ones() {
        let mut turns = Turns::new();
        assert_eq!(take(&mut turns, 1, Duration::ZERO), 1);
        assert_eq!(take(&mut turns, 10, Duration::from_micros(10)), 64);
        assert_eq!(take(&mut turns, 4, Duration::from_millis(9)), 8);
        assert_eq!(take(&mut turns, 10, Duration::from_millis(9)), 1);
        // Where everybody has a turn in time, nothing changes.
        assert_eq!(take(&mut turns, 4, Duration::from_micros(1)), 8);
        assert_eq!(take(&mut turns, 9, Duration::from_micros(700)), 16);
    }
}
