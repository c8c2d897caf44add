//! Numbers about one service, or about many: counters, how many are in each phase, and histograms.

use janus_lifecycle::{EventKind, FailureKind, RunOutcome, ServicePhase, TerminationReason};

const PHASES: usize = ServicePhase::ALL.len();
const KINDS: usize = FailureKind::ALL.len();
const REASONS: usize = TerminationReason::LABELS.len();

/// What is counted, about one service or about many.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) spawned: u64,
    pub(crate) restarts: u64,
    pub(crate) breaker_trips: u64,
    /// In the order of [`TerminationReason::LABELS`].
    pub(crate) terminated: [u64; REASONS],
    /// In the order of [`FailureKind::ALL`].
    pub(crate) failures: [u64; KINDS],
    /// How many are in each phase, in the order of [`ServicePhase::ALL`].
    pub(crate) phases: [u64; PHASES],
}

impl Counts {
    pub(crate) fn add(&mut self, other: &Self) {
        self.spawned += other.spawned;
        self.restarts += other.restarts;
        self.breaker_trips += other.breaker_trips;
        let sum =
            |into: &mut [u64], from: &[u64]| into.iter_mut().zip(from).for_each(|(n, m)| *n += m);
        sum(&mut self.terminated, &other.terminated);
        sum(&mut self.failures, &other.failures);
        sum(&mut self.phases, &other.phases);
    }

    pub(crate) fn count(&mut self, event: &EventKind) {
        match event {
            EventKind::Registered => self.spawned += 1,
            EventKind::Restarting => self.restarts += 1,
            EventKind::BreakerOpened { .. } => self.breaker_trips += 1,
            EventKind::RunEnded {
                outcome: RunOutcome::Failed(failure),
                ..
            } => {
                let kinds = FailureKind::ALL;
                if let Some(i) = kinds.iter().position(|kind| *kind == failure.kind()) {
                    self.failures[i] += 1;
                }
            }
            EventKind::Terminated { reason } => {
                let labels = TerminationReason::LABELS;
                if let Some(i) = labels.iter().position(|label| *label == reason.as_str()) {
                    self.terminated[i] += 1;
                }
            }
            _ => {}
        }
    }
}

/// How values are spread over buckets.
#[derive(Debug, Clone, Default)]
pub(crate) struct Spread {
    /// How many are in each bucket and in none below it. The last one, which has no bound, is not here.
    pub(crate) buckets: Box<[u64]>,
    pub(crate) sum: f64,
    pub(crate) count: u64,
}

impl Spread {
    fn new(bounds: &[f64]) -> Self {
        Self {
            buckets: vec![0; bounds.len()].into(),
            ..Self::default()
        }
    }

    fn record(&mut self, bounds: &[f64], value: f64) {
        let i = bounds.partition_point(|bound| *bound < value);
        if let Some(bucket) = self.buckets.get_mut(i) {
            *bucket += 1;
        }
        self.sum += value;
        self.count += 1;
    }

    fn add(&mut self, other: &Self) {
        let pairs = self.buckets.iter_mut().zip(&other.buckets);
        pairs.for_each(|(n, m)| *n += m);
        self.sum += other.sum;
        self.count += other.count;
    }
}

/// The two histograms of one service, or of many.
#[derive(Debug, Clone, Default)]
pub(crate) struct Spreads {
    pub(crate) uptime: Spread,
    pub(crate) delay: Spread,
}

/// The boundaries of the two histograms, if they are counted here; both empty if OpenTelemetry does it.
#[derive(Debug, Default)]
pub(crate) struct Bounds {
    pub(crate) uptime: Vec<f64>,
    pub(crate) delay: Vec<f64>,
}

impl Spreads {
    pub(crate) fn new(bounds: &Bounds) -> Self {
        Self {
            uptime: Spread::new(&bounds.uptime),
            delay: Spread::new(&bounds.delay),
        }
    }

    pub(crate) fn count(&mut self, bounds: &Bounds, event: &EventKind) {
        match event {
            EventKind::RunEnded { ran_for, .. } => {
                self.uptime.record(&bounds.uptime, ran_for.as_secs_f64());
            }
            EventKind::BackingOff { delay, .. } => {
                self.delay.record(&bounds.delay, delay.as_secs_f64());
            }
            _ => {}
        }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.uptime.add(&other.uptime);
        self.delay.add(&other.delay);
    }
}

pub(crate) fn index_of(phase: ServicePhase) -> usize {
    phase as usize
}
