//! Where a storm comes from: one seed.

use janus_supervisor::{BackoffConfig, Jitter, RestartPolicy, SpawnOptions};
use janus_tests::{Script, Turn, ms, secs};

/// A source of random services. The same seed makes the same ones.
pub(super) struct Weather(u64);

impl Weather {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `n`; 0 if there is nothing below.
    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.next().checked_rem(n).unwrap_or(0)
    }

    pub(super) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        let n = self.below(from.len() as u64) as usize;
        from[n].clone()
    }

    fn turn(&mut self) -> Turn {
        let end = match self.below(20) {
            0..=7 => Turn::Fail("storm"),
            8 => Turn::Panic("storm"),
            9..=13 => Turn::Complete,
            14 => Turn::FailForGood("storm"),
            15 => Turn::Hang,
            16 => Turn::Fail("late")
                .after(ms(self.below(3000)))
                .when_cancelled(),
            17 => Turn::Complete.after(secs(self.below(20))).when_cancelled(),
            _ => Turn::until_cancelled(),
        };
        match self.below(3) {
            0 => end,
            1 => end.after(ms(self.below(200))),
            _ => end.after(secs(self.below(10))),
        }
    }

    /// The `i`-th service: some turns, a policy, a backoff and a grace.
    pub(super) fn service(&mut self, i: usize) -> (Script, SpawnOptions) {
        let turns: Vec<_> = (0..=self.below(6)).map(|_| self.turn()).collect();
        let policy = self.pick(&RestartPolicy::ALL);
        let base = self.pick(&[ms(100), ms(250), secs(1)]);
        let jitter = self.pick(&[
            Jitter::None,
            Jitter::Full,
            Jitter::Equal,
            Jitter::Decorrelated,
        ]);
        let retries = self.pick(&[0, 3, 10]);
        let backoff = BackoffConfig::new(base, secs(4))
            .with_jitter(jitter)
            .with_cooldown(self.pick(&[ms(100), secs(5), secs(300)]))
            .with_circuit_breaker(retries, secs(120));
        let grace = self.pick(&[ms(0), ms(500), secs(5), secs(3600)]);
        let options = SpawnOptions::with_backoff(backoff).with_shutdown_grace(grace);
        let script = Script::new(i.to_string(), turns).policy(policy);
        (script, options)
    }
}
