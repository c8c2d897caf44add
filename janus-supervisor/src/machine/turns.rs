//! How long a crash loop without a delay goes on before it gives way to the rest of its runtime.
//!
//! As long as it likes would starve its siblings, and to give way after each run costs several times what a restart does. So a turn is as
//! long as it can be while everybody gets one in time: a loop whose turns are long in coming takes shorter ones.

use std::time::{Duration, Instant};

/// The turns of one crash loop, in restarts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Turns {
    /// How many there may be in a turn at present.
    length: u8,
    /// How many there were in this one.
    spent: u8,
    /// When the turn before this one ended.
    ended_at: Option<Instant>,
    /// The length was changed at the end of the turn before this one. The others have not had a turn since that was told them, too.
    is_new: bool,
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
            ended_at: None,
            is_new: false,
        }
    }

    /// A turn begins.
    #[inline]
    pub(crate) const fn begin(&mut self) {
        self.spent = 0;
    }

    /// Whether another run may follow in this turn. If not, the turn is over.
    #[inline]
    pub(crate) fn goes_on(&mut self, now: Instant) -> bool {
        let goes_on = self.spent < self.length;
        if goes_on {
            self.spent += 1;
        } else if let Some(before) = self.ended_at.replace(now) {
            self.adapt(now.saturating_duration_since(before));
        }
        goes_on
    }

    /// From the end of a turn to the end of the next, everybody has had one: the more there were in each, the longer that took.
    fn adapt(&mut self, round: Duration) {
        if std::mem::take(&mut self.is_new) {
            // A round that was still of the old length.
            return;
        }
        let most = u128::from(self.length) * Self::ROUND.as_nanos() / round.as_nanos().max(1);
        let most = u8::try_from(most).unwrap_or(u8::MAX);
        let length = most.clamp(self.length.div_ceil(2), self.length * 2);
        let length = length.min(Self::LONGEST);
        self.is_new = length != self.length;
        self.length = length;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(
        clippy::disallowed_methods,
        reason = "a test needs one instant to count from"
    )]
    fn t0() -> Instant {
        Instant::now()
    }

    /// Lets so many loops take turns, each restart as long as that, and answers how long the rounds were.
    fn rounds(loops: &mut [Turns], restart: Duration, n: usize) -> Vec<Duration> {
        let mut now = t0();
        let mut round = || {
            let began = now;
            for turns in loops.iter_mut() {
                turns.begin();
                now += restart;
                while turns.goes_on(now) {
                    now += restart;
                }
            }
            now - began
        };
        (0..n).map(|_| round()).collect()
    }

    const RESTART: Duration = Duration::from_nanos(250);

    #[test]
    fn alone_it_takes_the_longest_turns() {
        let mut loops = [Turns::new()];
        rounds(&mut loops, RESTART, 20);
        assert_eq!(loops[0].length, Turns::LONGEST);
    }

    #[test]
    fn many_fill_a_round_and_never_more() {
        for n in [100, 300, 1_000, 2_000] {
            let mut loops = vec![Turns::new(); n];
            let rounds = rounds(&mut loops, RESTART, 100);
            let longest = rounds.iter().max().unwrap();
            assert!(*longest <= Turns::ROUND, "{n}: {longest:?}");
            let last = rounds.last().unwrap();
            assert!(*last >= Turns::ROUND * 3 / 4, "{n}: {last:?}");
        }
    }

    #[test]
    fn too_many_for_a_round_take_one_at_a_time() {
        let mut loops = [Turns::new(); 20_000];
        rounds(&mut loops, RESTART, 5);
        assert!(loops.iter().all(|turns| turns.length == 1));
    }

    #[test]
    fn when_more_come_the_turns_get_shorter_in_time() {
        let mut loops = [Turns::new(); 2_000];
        rounds(&mut loops[..10], RESTART, 100);
        assert_eq!(loops[0].length, Turns::LONGEST);
        let rounds = rounds(&mut loops, RESTART, 20);
        let last = rounds.last().unwrap();
        assert!(*last <= Turns::ROUND * 3 / 2, "{last:?}");
    }

    #[test]
    fn a_round_that_took_long_for_once_costs_one_step() {
        let mut loops = [Turns::new()];
        rounds(&mut loops, RESTART, 20);
        // Its runs begin at another instant now: what is between is one round of no length.
        let mut now = t0() + Duration::from_secs(60);
        loops[0].begin();
        while loops[0].goes_on(now) {
            now += RESTART;
        }
        assert_eq!(loops[0].length, Turns::LONGEST / 2);
        rounds(&mut loops, RESTART, 20);
        assert_eq!(loops[0].length, Turns::LONGEST);
    }
}
