//! What the events add up to: the numbers behind the instruments.
//!
//! Invariants:
//!
//! 1. A service is in exactly one phase, at any moment that anybody looks.
//! 2. The totals are over all services that ever were; the series, one for each service that has not been removed.
//! 3. An event touches one of many locks and a few atomics, briefly. Nobody else's code runs under a lock.

use janus_lifecycle::{
    EventKind, FailureKind, RunOutcome, ServiceEvent, ServicePhase, TerminationReason,
};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const PHASES: usize = ServicePhase::ALL.len();
const KINDS: usize = FailureKind::ALL.len();
const REASONS: usize = TerminationReason::LABELS.len();

/// What is counted, about one service or about all.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counts<N> {
    pub(crate) spawned: N,
    pub(crate) restarts: N,
    pub(crate) breaker_trips: N,
    /// In the order of [`TerminationReason::LABELS`].
    pub(crate) terminated: [N; REASONS],
    /// In the order of [`FailureKind::ALL`].
    pub(crate) failures: [N; KINDS],
    /// How many are in each phase, in the order of [`ServicePhase::ALL`].
    pub(crate) phases: [N; PHASES],
}

/// One service.
#[derive(Debug)]
struct Series {
    name: Arc<str>,
    phase: ServicePhase,
    counts: Counts<u64>,
}

/// All services of one supervisor.
#[derive(Debug, Default)]
pub(crate) struct Fleet {
    totals: Counts<AtomicU64>,
    shards: [Mutex<HashMap<u64, Series>>; 32],
}

impl Fleet {
    /// Takes note of one event.
    pub(crate) fn count(&self, event: &ServiceEvent) {
        let mut shard = self.shard(event.id);
        let series = match &event.kind {
            EventKind::Registered => shard.entry(event.id).or_insert_with(|| Series {
                name: Arc::clone(&event.service),
                phase: ServicePhase::Starting,
                counts: Counts::default(),
            }),
            EventKind::Removed => {
                if let Some(gone) = shard.remove(&event.id) {
                    self.totals.phases[index_of(gone.phase)].fetch_sub(1, Relaxed);
                }
                return;
            }
            _ => match shard.get_mut(&event.id) {
                Some(series) => series,
                // Nobody told of its registration: the observer came late, and cannot know what it missed.
                None => return,
            },
        };
        let (own, totals) = (&mut series.counts, &self.totals);
        match &event.kind {
            EventKind::Registered => both(&mut own.spawned, &totals.spawned),
            EventKind::Restarting => both(&mut own.restarts, &totals.restarts),
            EventKind::BreakerOpened { .. } => both(&mut own.breaker_trips, &totals.breaker_trips),
            EventKind::RunEnded {
                outcome: RunOutcome::Failed(failure),
                ..
            } => {
                let kinds = FailureKind::ALL;
                if let Some(i) = kinds.iter().position(|kind| *kind == failure.kind()) {
                    both(&mut own.failures[i], &totals.failures[i]);
                }
            }
            EventKind::Terminated { reason } => {
                let labels = TerminationReason::LABELS;
                if let Some(i) = labels.iter().position(|label| *label == reason.as_str()) {
                    both(&mut own.terminated[i], &totals.terminated[i]);
                }
            }
            _ => {}
        }
        if let Some(phase) = event.kind.phase() {
            if !matches!(event.kind, EventKind::Registered) {
                totals.phases[index_of(series.phase)].fetch_sub(1, Relaxed);
            }
            totals.phases[index_of(phase)].fetch_add(1, Relaxed);
            series.phase = phase;
        }
    }

    /// Totals over all services that ever were, and how many are in each phase now.
    pub(crate) fn totals(&self) -> Counts<u64> {
        let read = |n: &AtomicU64| n.load(Relaxed);
        Counts {
            spawned: read(&self.totals.spawned),
            restarts: read(&self.totals.restarts),
            breaker_trips: read(&self.totals.breaker_trips),
            terminated: std::array::from_fn(|i| read(&self.totals.terminated[i])),
            failures: std::array::from_fn(|i| read(&self.totals.failures[i])),
            phases: std::array::from_fn(|i| read(&self.totals.phases[i])),
        }
    }

    /// Services that are registered and have not terminated.
    pub(crate) fn active(&self) -> u64 {
        let phases = self.totals().phases;
        ServicePhase::ALL
            .iter()
            .zip(phases)
            .filter(|(phase, _)| !phase.is_terminal())
            .map(|(_, n)| n)
            .sum()
    }

    /// Every service that has not been removed. Calls `visit` without a lock.
    pub(crate) fn for_each(&self, mut visit: impl FnMut(&Arc<str>, &Counts<u64>)) {
        let mut copies = Vec::new();
        for shard in &self.shards {
            copies.extend(lock(shard).values().map(|series| {
                let mut counts = series.counts.clone();
                counts.phases[index_of(series.phase)] = 1;
                (Arc::clone(&series.name), counts)
            }));
            for (name, counts) in copies.drain(..) {
                visit(&name, &counts);
            }
        }
    }

    fn shard(&self, id: u64) -> MutexGuard<'_, HashMap<u64, Series>> {
        let shards = self.shards.len() as u64;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "less than the number of shards"
        )]
        let i = (id % shards) as usize;
        lock(&self.shards[i])
    }
}

fn lock(shard: &Mutex<HashMap<u64, Series>>) -> MutexGuard<'_, HashMap<u64, Series>> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

fn both(own: &mut u64, total: &AtomicU64) {
    *own += 1;
    total.fetch_add(1, Relaxed);
}

fn index_of(phase: ServicePhase) -> usize {
    phase as usize
}
