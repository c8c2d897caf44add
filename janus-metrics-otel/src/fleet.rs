//! What the events add up to: the numbers behind the instruments.
//!
//! Invariants:
//!
//! 1. A service is in exactly one phase, at any moment that anybody looks.
//! 2. Each service is counted in one place: in a series of its own, or in the rest, which is all that have none. A series ends
//!    with its service; the rest never falls.
//! 3. An event of a registered service takes one of many locks, briefly, and nothing else that services share. Nobody else's
//!    code runs under a lock.

use janus_lifecycle::{
    EventKind, FailureKind, RunOutcome, ServiceEvent, ServicePhase, TerminationReason,
};
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
    fn add(&mut self, other: &Self) {
        self.spawned += other.spawned;
        self.restarts += other.restarts;
        self.breaker_trips += other.breaker_trips;
        let sum =
            |into: &mut [u64], from: &[u64]| into.iter_mut().zip(from).for_each(|(n, m)| *n += m);
        sum(&mut self.terminated, &other.terminated);
        sum(&mut self.failures, &other.failures);
        sum(&mut self.phases, &other.phases);
    }

    fn count(&mut self, event: &EventKind) {
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
    fn new(bounds: &Bounds) -> Self {
        Self {
            uptime: Spread::new(&bounds.uptime),
            delay: Spread::new(&bounds.delay),
        }
    }

    fn count(&mut self, bounds: &Bounds, event: &EventKind) {
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

    fn add(&mut self, other: &Self) {
        self.uptime.add(&other.uptime);
        self.delay.add(&other.delay);
    }
}

/// For how many services there are series of their own. Observers may share it.
#[derive(Debug)]
pub(crate) struct Room(AtomicUsize);

impl Room {
    pub(crate) const fn new(services: usize) -> Self {
        Self(AtomicUsize::new(services))
    }

    fn take(&self) -> bool {
        let less = |left: usize| left.checked_sub(1);
        self.0.fetch_update(Relaxed, Relaxed, less).is_ok()
    }

    fn give_back(&self) {
        self.0.fetch_add(1, Relaxed);
    }
}

/// Where a service is counted.
#[derive(Debug)]
enum Place {
    Own(Box<(Counts, Spreads)>),
    Rest,
    /// Another service has its name now, and shows in its place.
    Nowhere,
}

/// One service.
#[derive(Debug)]
struct Service {
    name: Arc<str>,
    phase: ServicePhase,
    place: Place,
}

#[derive(Debug, Default)]
struct Shard {
    services: HashMap<u64, Service>,
    active: u64,
    /// Whether there ever was a service without a series of its own.
    has_rest: bool,
    rest: (Counts, Spreads),
}

/// All services of one supervisor.
#[derive(Debug)]
pub(crate) struct Fleet {
    shards: [Mutex<Shard>; 32],
    /// Which service has a name now: names can be used again. Only registering and removing look here.
    names: Mutex<HashMap<Arc<str>, u64>>,
    room: Arc<Room>,
    bounds: Bounds,
}

impl Fleet {
    /// `has_rest` shows the rest even before anybody is in it.
    pub(crate) fn new(room: Arc<Room>, has_rest: bool, bounds: Bounds) -> Self {
        let shard = |_| {
            Mutex::new(Shard {
                has_rest,
                rest: (Counts::default(), Spreads::new(&bounds)),
                ..Shard::default()
            })
        };
        Self {
            shards: std::array::from_fn(shard),
            names: Mutex::default(),
            room,
            bounds,
        }
    }

    #[cfg(feature = "prometheus")]
    pub(crate) const fn bounds(&self) -> &Bounds {
        &self.bounds
    }

    /// Takes note of one event.
    pub(crate) fn count(&self, event: &ServiceEvent) {
        match event.kind {
            EventKind::Registered => self.register(event),
            EventKind::Removed => self.remove(event.id),
            _ => {}
        }
        let mut shard = self.shard(event.id);
        let Shard {
            services,
            active,
            rest,
            ..
        } = &mut *shard;
        let Some(service) = services.get_mut(&event.id) else {
            // Removed. Or nobody told of its registration: the observer came late, and cannot know what it missed.
            return;
        };
        let before = service.phase;
        let after = event.kind.phase().unwrap_or(before);
        service.phase = after;
        if after.is_terminal() && !before.is_terminal() {
            *active -= 1;
        }
        let (counts, spreads) = match &mut service.place {
            Place::Own(own) => &mut **own,
            Place::Rest => rest,
            Place::Nowhere => return,
        };
        counts.count(&event.kind);
        counts.phases[index_of(before)] -= 1;
        counts.phases[index_of(after)] += 1;
        spreads.count(&self.bounds, &event.kind);
    }

    /// Makes a place for a service, where it is starting.
    fn register(&self, event: &ServiceEvent) {
        let starting = |counts: &mut Counts| counts.phases[index_of(ServicePhase::Starting)] += 1;
        let own = self.room.take().then(|| {
            self.take_name(event);
            let mut counts = Counts::default();
            starting(&mut counts);
            Box::new((counts, Spreads::new(&self.bounds)))
        });
        let mut shard = self.shard(event.id);
        shard.active += 1;
        if own.is_none() {
            shard.has_rest = true;
            starting(&mut shard.rest.0);
        }
        let service = Service {
            name: Arc::clone(&event.service),
            phase: ServicePhase::Starting,
            place: own.map_or(Place::Rest, Place::Own),
        };
        shard.services.insert(event.id, service);
    }

    /// Sees to it that a name has no other series than this service's.
    fn take_name(&self, event: &ServiceEvent) {
        let old = lock(&self.names).insert(Arc::clone(&event.service), event.id);
        let Some(old) = old else { return };
        if let Some(old) = self.shard(old).services.get_mut(&old) {
            if matches!(old.place, Place::Own(_)) {
                old.place = Place::Nowhere;
                self.room.give_back();
            }
        }
    }

    fn remove(&self, id: u64) {
        let mut shard = self.shard(id);
        let Some(gone) = shard.services.remove(&id) else {
            return;
        };
        if !gone.phase.is_terminal() {
            shard.active -= 1;
        }
        match gone.place {
            Place::Rest => shard.rest.0.phases[index_of(gone.phase)] -= 1,
            Place::Nowhere => {}
            Place::Own(_) => {
                drop(shard);
                self.room.give_back();
                let mut names = lock(&self.names);
                if names.get(&gone.name) == Some(&id) {
                    names.remove(&gone.name);
                }
            }
        }
    }

    /// Services that are registered and have not terminated.
    pub(crate) fn active(&self) -> u64 {
        self.shards.iter().map(|shard| lock(shard).active).sum()
    }

    /// Shows what is counted of every service with a series of its own, and of the rest (without a name), if there is any. Calls
    /// `visit` without a lock, with copies of one moment for each service.
    pub(crate) fn visit(&self, mut visit: impl FnMut(Option<&Arc<str>>, &Counts, &Spreads)) {
        let mut rest: Option<(Counts, Spreads)> = None;
        let mut copies = Vec::new();
        for shard in &self.shards {
            let shard = lock(shard);
            copies.extend(shard.services.values().filter_map(|service| {
                let Place::Own(own) = &service.place else {
                    return None;
                };
                Some((Arc::clone(&service.name), own.clone()))
            }));
            let more = shard.has_rest.then(|| shard.rest.clone());
            drop(shard);
            match (&mut rest, more) {
                (Some((counts, spreads)), Some((more_counts, more_spreads))) => {
                    counts.add(&more_counts);
                    spreads.add(&more_spreads);
                }
                (rest, more) => *rest = rest.take().or(more),
            }
            for (name, own) in copies.drain(..) {
                visit(Some(&name), &own.0, &own.1);
            }
        }
        if let Some((counts, spreads)) = &rest {
            visit(None, counts, spreads);
        }
    }

    fn shard(&self, id: u64) -> MutexGuard<'_, Shard> {
        let shards = self.shards.len() as u64;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "less than the number of shards"
        )]
        let i = (id % shards) as usize;
        lock(&self.shards[i])
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn index_of(phase: ServicePhase) -> usize {
    phase as usize
}
