//! How long a crash loop without a delay goes on before it gives way to the rest of its runtime.
//!
//! As long as it likes would starve its siblings, and to give way after each run costs several times what a restart
//! does. So a turn is as long as it can be while everybody gets one in time: a loop whose turns are long in coming
//! takes shorter ones.

use std::time::{Duration, Instant};

/// The turns of one crash loop, in restarts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Turns {
    /// How many there may be in a turn at present.
    length: u8,
    /// How many there were in this one.
    spent: u8,
    /// How many turns have ended since the length was last looked at.
    taken: u8,
    /// When the first of those ended.
    ended_at: Option<Instant>,
}

impl Turns {
    /// Less than tokio's cooperative budget, of which the runs may need some.
    const LONGEST: u8 = 64;
    /// Within this time everybody should have had a turn: it is what tokio's timers tell apart.
    const ROUND: Duration = Duration::from_millis(1);
    /// It is measured over two rounds, since tokio may reverse the order from one to the next.
    const ROUNDS: u8 = 2;

    /// A loop begins modestly: it may be one of a thousand.
    pub(crate) const fn new() -> Self {
        Self {
            length: 1,
            spent: 0,
            taken: 0,
            ended_at: None,
        }
    }

    /// A turn begins.
    #[inline]
    pub(crate) const fn begin(&mut self) {
        self.spent = 0;
    }

    /// No other run follows in this turn.
    #[inline]
    pub(crate) const fn spend(&mut self) {
        self.spent = self.length;
    }

    /// Whether another run may follow in this turn. If not, the turn is over.
    #[inline]
    pub(crate) fn goes_on(&mut self, now: Instant) -> bool {
        let goes_on = self.spent < self.length;
        if goes_on {
            self.spent += 1;
        } else {
            self.end(now);
        }
        goes_on
    }

    /// A turn ends. Until the end of the next, everybody has had one.
    fn end(&mut self, now: Instant) {
        self.taken += 1;
        match self.ended_at {
            Some(first) if self.taken > Self::ROUNDS => {
                self.adapt(now.saturating_duration_since(first) / Self::ROUNDS.into());
                self.taken = 0;
            }
            // What was before the first was a round of the length before this, for those at least that come after it.
            _ if self.taken == 1 => self.ended_at = Some(now),
            _ => {}
        }
    }

    /// A round is the longer the more there are in each turn.
    fn adapt(&mut self, round: Duration) {
        let most = u128::from(self.length) * Self::ROUND.as_nanos() / round.as_nanos().max(1);
        let most = u8::try_from(most).unwrap_or(u8::MAX);
        let length = most.clamp(self.length.div_ceil(2), self.length * 2);
        self.length = length.min(Self::LONGEST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    /// In which order they have their turns.
    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Order {
        /// Always the same.
        Queue,
        /// The other way round each time.
        Stack,
    }

    /// Lets so many loops take turns, each restart as long as that, and returns how long the rounds were.
    fn rounds(loops: &mut [Turns], order: Order, restart: Duration, n: usize) -> Vec<Duration> {
        let mut now = clock::now();
        let mut round = || {
            let began = now;
            for turns in loops.iter_mut() {
                turns.begin();
                now += restart;
                while turns.goes_on(now) {
                    now += restart;
                }
            }
            if order == Order::Stack {
                loops.reverse();
            }
            now - began
        };
        (0..n).map(|_| round()).collect()
    }

    const RESTART: Duration = Duration::from_nanos(250);

    #[test]
    fn alone_it_takes_the_longest_turns() {
        let mut loops = [Turns::new()];
        rounds(&mut loops, Order::Queue, RESTART, 30);
        assert_eq!(loops[0].length, Turns::LONGEST);
    }

    #[test]
    fn many_fill_a_round_and_never_more() {
        let slow = Duration::from_micros(10);
        let cases = [
            (100, RESTART),
            (300, RESTART),
            (1_000, RESTART),
            (2_000, RESTART),
            (50, slow),
        ];
        for order in [Order::Queue, Order::Stack] {
            for (n, restart) in cases {
                let mut loops = vec![Turns::new(); n];
                let rounds = rounds(&mut loops, order, restart, 300);
                let longest = *rounds.iter().max().unwrap();
                let last = *rounds.last().unwrap();
                assert!(longest <= Turns::ROUND, "{order:?}, {n}: {longest:?}");
                assert!(last >= Turns::ROUND * 3 / 4, "{order:?}, {n}: {last:?}");
            }
        }
    }

    #[test]
    fn too_many_for_a_round_take_one_at_a_time() {
        let mut loops = [Turns::new(); 20_000];
        rounds(&mut loops, Order::Queue, RESTART, 9);
        assert!(loops.iter().all(|turns| turns.length == 1));
    }

    #[test]
    fn when_more_come_the_turns_get_shorter_in_time() {
        let mut loops = [Turns::new(); 2_000];
        rounds(&mut loops[..10], Order::Queue, RESTART, 100);
        assert_eq!(loops[0].length, Turns::LONGEST);
        let rounds = rounds(&mut loops, Order::Queue, RESTART, 30);
        let last = rounds.last().unwrap();
        assert!(*last <= Turns::ROUND * 9 / 8, "{last:?}");
    }

    #[test]
    fn a_pause_between_two_failures_costs_one_step_at_most() {
        let mut shortest = u8::MAX;
        for before in 30..33 {
            let mut loops = [Turns::new()];
            rounds(&mut loops, Order::Queue, RESTART, before);
            let [turns] = &mut loops;
            let mut now = clock::now() + Duration::from_secs(60);
            for _ in 0..4 {
                turns.begin();
                while turns.goes_on(now) {
                    now += RESTART;
                }
                shortest = shortest.min(turns.length);
            }
            rounds(&mut loops, Order::Queue, RESTART, 30);
            assert_eq!(loops[0].length, Turns::LONGEST);
        }
        assert_eq!(shortest, Turns::LONGEST / 2);
    }
}
