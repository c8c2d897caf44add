//! Numbers that look like chance and come from a seed.

/// The dice of all tests, and what else a history is made with.
#[derive(Debug, Clone)]
pub(crate) struct Dice(janus_tests::Dice);

impl Dice {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(janus_tests::Dice::new(seed))
    }

    /// From 0 on, below `end`; 0 if that is 0.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0.below(end)
    }

    /// Both ends included.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// Once in `n` times.
    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.0.one_in(n)
    }

    /// One of these, of which there is at least one.
    pub(crate) fn pick<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.index(all.len())].clone()
    }

    /// A place in a list of this length.
    pub(crate) fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap_or(0)
    }

    /// A time in milliseconds: often one of a few, so that things meet in one moment, and at most `most`.
    pub(crate) fn millis(&mut self, most: u64) -> u64 {
        const OFTEN: [u64; 10] = [0, 1, 2, 5, 10, 20, 50, 100, 200, 500];
        if self.one_in(2) {
            self.between(0, most)
        } else {
            self.pick(&OFTEN).min(most)
        }
    }
}
