//! What the events add up to: the numbers behind the instruments.
//!
//! Invariants:
//!
//! 1. A service is in exactly one phase, at any moment that anybody looks.
//! 2. A service is counted in one place: in series of its own, in the rest, which is all that have none, or nowhere,
//!    once a newer one of its name has taken over its series. Series end with their service; the counters of the rest
//!    never fall.
//! 3. All services of one name are behind one lock: while a name passes from one to the next, no moment shows both or
//!    neither.
//! 4. An event takes one of many locks, briefly. A service's first event and its end also touch a number or two that
//!    all share. Nobody else's code runs under a lock.

use crate::counts::{Bounds, Counts, Spreads, index_of};
use janus_lifecycle::{EventKind, ServiceEvent, ServicePhase};
use std::collections::HashMap;
use std::hash::{BuildHasher as _, BuildHasherDefault, Hasher, RandomState};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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

    fn give_back(&self, services: usize) {
        self.0.fetch_add(services, Relaxed);
    }
}

/// Where a service is counted.
#[derive(Debug)]
enum Place {
    Own(Box<(Counts, Spreads)>),
    Rest,
    /// A newer service of its name has taken over its series.
    Nowhere,
}

/// One service.
#[derive(Debug)]
struct Service {
    id: u64,
    name: Arc<str>,
    phase: ServicePhase,
    place: Place,
}

impl Service {
    /// Whether an event is about this one. Other names can have the same hash, and other services the same name.
    fn is_of(&self, event: &ServiceEvent) -> bool {
        self.id == event.id && self.name == event.service
    }

    fn own(&self) -> Option<&(Counts, Spreads)> {
        match &self.place {
            Place::Own(own) => Some(own),
            Place::Rest | Place::Nowhere => None,
        }
    }
}

/// The services of some of the names.
#[derive(Debug, Default)]
struct Shard {
    /// By the hash of the name. There is more than one where a name is used again before its last service is removed.
    services: HashMap<u64, Vec<Service>, BuildHasherDefault<Hashed>>,
    /// How many have series of their own.
    own: usize,
    /// Whether there ever was one without.
    has_rest: bool,
    rest: (Counts, Spreads),
}

/// The hasher for keys that are hashes.
#[derive(Debug, Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(self.0.rotate_left(8) ^ u64::from(*byte));
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// All services of one supervisor.
#[derive(Debug)]
pub(crate) struct Fleet {
    shards: [Mutex<Shard>; 32],
    /// A name is hashed once for each event: the hash says which shard it is in, and where in there.
    hasher: RandomState,
    /// Services that are registered and have not terminated.
    active: AtomicU64,
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
            hasher: RandomState::new(),
            active: AtomicU64::new(0),
            room,
            bounds,
        }
    }

    #[cfg(feature = "prometheus")]
    pub(crate) const fn bounds(&self) -> &Bounds {
        &self.bounds
    }

    /// Takes note of one event, and returns whether it is counted anywhere.
    pub(crate) fn count(&self, event: &ServiceEvent) -> bool {
        let hash = self.hasher.hash_one(&*event.service);
        let mut shard = self.shard(hash);
        match event.kind {
            EventKind::Registered => self.register(&mut shard, hash, event),
            EventKind::Removed => self.remove(&mut shard, hash, event),
            _ => {}
        }
        let Shard { services, rest, .. } = &mut *shard;
        let mut candidates = services.get_mut(&hash).into_iter().flatten();
        let Some(service) = candidates.find(|service| service.is_of(event)) else {
            // Removed. Or nobody told of its registration: the observer came late, and cannot know what it missed.
            return false;
        };
        let before = service.phase;
        if before.is_terminal() {
            // Nothing follows an end: this is about another supervisor's service of the same name and id.
            return false;
        }
        let after = event.kind.phase().unwrap_or(before);
        service.phase = after;
        if after.is_terminal() {
            self.active.fetch_sub(1, Relaxed);
        }
        let (counts, spreads) = match &mut service.place {
            Place::Own(own) => &mut **own,
            Place::Rest => rest,
            Place::Nowhere => return false,
        };
        counts.count(&event.kind);
        counts.phases[index_of(before)] -= 1;
        counts.phases[index_of(after)] += 1;
        spreads.count(&self.bounds, &event.kind);
        true
    }

    /// Makes a place for a service, where it is starting. It takes over the series of its name, if there are any.
    fn register(&self, shard: &mut Shard, hash: u64, event: &ServiceEvent) {
        // One observer of two supervisors may be told of the same name and id twice.
        self.remove(shard, hash, event);
        let of_hash = shard.services.entry(hash);
        let of_hash = of_hash.or_insert_with(|| Vec::with_capacity(1));
        let predecessor = of_hash
            .iter_mut()
            .find(|old| old.name == event.service && old.own().is_some());
        let takes_over = predecessor.is_some();
        if let Some(old) = predecessor {
            old.place = Place::Nowhere;
        }
        let starting = |counts: &mut Counts| counts.phases[index_of(ServicePhase::Starting)] += 1;
        let place = if takes_over || self.room.take() {
            shard.own += usize::from(!takes_over);
            let mut own = (Counts::default(), Spreads::new(&self.bounds));
            starting(&mut own.0);
            Place::Own(Box::new(own))
        } else {
            shard.has_rest = true;
            starting(&mut shard.rest.0);
            Place::Rest
        };
        of_hash.push(Service {
            id: event.id,
            name: Arc::clone(&event.service),
            phase: ServicePhase::Starting,
            place,
        });
        self.active.fetch_add(1, Relaxed);
    }

    /// Forgets a service, if it is known.
    fn remove(&self, shard: &mut Shard, hash: u64, event: &ServiceEvent) {
        let Some(of_hash) = shard.services.get_mut(&hash) else {
            return;
        };
        let Some(i) = of_hash.iter().position(|service| service.is_of(event)) else {
            return;
        };
        let gone = of_hash.swap_remove(i);
        if of_hash.is_empty() {
            shard.services.remove(&hash);
        }
        if !gone.phase.is_terminal() {
            self.active.fetch_sub(1, Relaxed);
        }
        match gone.place {
            Place::Own(_) => {
                shard.own -= 1;
                self.room.give_back(1);
            }
            Place::Rest => shard.rest.0.phases[index_of(gone.phase)] -= 1,
            Place::Nowhere => {}
        }
    }

    /// Gives its room back, once no event will come any more. What it has counted can still be shown.
    pub(crate) fn close(&self) {
        for shard in &self.shards {
            self.room.give_back(lock(shard).own);
        }
    }

    /// Services that are registered and have not terminated.
    pub(crate) fn active(&self) -> u64 {
        self.active.load(Relaxed)
    }

    /// Shows what is counted of every service with series of its own, and of the rest (without a name), if there is
    /// any. Calls `visit` without a lock, with copies of one moment for each service.
    pub(crate) fn visit(&self, mut visit: impl FnMut(Option<&Arc<str>>, &Counts, &Spreads)) {
        let mut rest: Option<(Counts, Spreads)> = None;
        let mut copies = Vec::new();
        for shard in &self.shards {
            let shard = lock(shard);
            // Without the label there can be very many services, and not one to show.
            if shard.own > 0 {
                let services = shard.services.values().flatten();
                copies.extend(services.filter_map(|service| {
                    let own = service.own()?;
                    Some((Arc::clone(&service.name), own.clone()))
                }));
            }
            let more = shard.has_rest.then(|| shard.rest.clone());
            drop(shard);
            match (&mut rest, more) {
                (Some((counts, spreads)), Some((more_counts, more_spreads))) => {
                    counts.add(&more_counts);
                    spreads.add(&more_spreads);
                }
                (rest, more) => *rest = rest.take().or(more),
            }
            for (name, (counts, spreads)) in copies.drain(..) {
                visit(Some(&name), &counts, &spreads);
            }
        }
        if let Some((counts, spreads)) = &rest {
            visit(None, counts, spreads);
        }
    }

    /// The one for the names of this hash.
    fn shard(&self, hash: u64) -> MutexGuard<'_, Shard> {
        // Not by the bits that the map inside goes by: the lowest and the highest.
        let i = (hash >> 32) as usize % self.shards.len();
        lock(&self.shards[i])
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
