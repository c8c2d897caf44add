//! The observer of a history: writes every event down, and checks at once what can only be seen while it happens.
//!
//! - The counters add up at every event.
//! - An event tells the time at which it is told.
//! - The events of a service lead to the very state that its snapshot shows. As several events can come of one step,
//!   that is looked at when the next service speaks, and whenever the clock moves.

use crate::trace::{Entry, Trace, now};
use janus_lifecycle::ServiceLifecycle;
use janus_supervisor::{
    EventKind, JanusSupervisor, Observer, ServiceEvent, ServiceHandle, SupervisorMetrics,
};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

pub(crate) struct Witness {
    trace: Arc<Trace>,
    metrics: OnceLock<Arc<SupervisorMetrics>>,
    /// The one hold on the supervisor that all share, so that it can be let go.
    supervisor: Mutex<Option<JanusSupervisor>>,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    services: BTreeMap<u64, Known>,
    /// The service whose last step has not been looked at.
    unsettled: Option<u64>,
}

struct Known {
    told: ServiceLifecycle,
    handle: Option<ServiceHandle>,
    is_removed: bool,
}

impl Witness {
    pub(crate) fn new(trace: Arc<Trace>) -> Self {
        Self {
            trace,
            metrics: OnceLock::new(),
            supervisor: Mutex::default(),
            seen: Mutex::default(),
        }
    }

    /// Takes charge of the supervisor.
    pub(crate) fn keep(&self, supervisor: JanusSupervisor) {
        let _first = self.metrics.set(Arc::clone(supervisor.metrics()));
        *lock(&self.supervisor) = Some(supervisor);
    }

    pub(crate) fn supervisor(&self) -> Option<JanusSupervisor> {
        lock(&self.supervisor).clone()
    }

    /// Lets go of the supervisor. Answers it, to be dropped where nobody holds a lock.
    pub(crate) fn let_go(&self) -> Option<JanusSupervisor> {
        lock(&self.supervisor).take()
    }

    /// The service of this name, if it is registered.
    pub(crate) fn handle(&self, name: &str) -> Option<ServiceHandle> {
        match self.supervisor() {
            Some(supervisor) => supervisor.service(name),
            None => {
                let seen = lock(&self.seen);
                let mut known = seen.services.values().rev();
                let known = known.find(|it| *it.told.service_name() == *name)?;
                known.handle.clone()
            }
        }
    }

    /// The handles of all services that ever were.
    pub(crate) fn handles(&self) -> Vec<ServiceHandle> {
        let seen = lock(&self.seen);
        let handles = seen.services.values().map(|it| it.handle.clone());
        handles.flatten().collect()
    }

    /// A service's step is over: its events and its snapshot must agree.
    pub(crate) fn settle(&self) {
        let unsettled = lock(&self.seen).unsettled.take();
        if let Some(id) = unsettled {
            self.compare(id);
        }
    }

    /// Everything is at rest: all events and snapshots must agree, and what is registered must be what was told.
    pub(crate) fn settle_all(&self) {
        self.settle();
        let ids: Vec<u64> = lock(&self.seen).services.keys().copied().collect();
        for id in ids {
            self.compare(id);
        }
        if let Some(supervisor) = self.supervisor() {
            let mut shown: Vec<_> = supervisor.snapshot().services;
            shown.sort_by(|a, b| a.service_name.cmp(&b.service_name));
            let shown: Vec<_> = shown.into_iter().map(|it| it.service_name).collect();
            let seen = lock(&self.seen);
            let told = seen.services.values().filter(|it| !it.is_removed);
            let mut told: Vec<_> = told.map(|it| it.told.service_name().to_string()).collect();
            told.sort();
            drop(seen);
            if shown != told {
                self.fault(format!(
                    "registered are {shown:?}, and the events tell of {told:?}"
                ));
            }
        }
    }

    /// After the drain.
    pub(crate) fn nothing_is_left(&self) {
        self.settle_all();
        let seen = lock(&self.seen);
        let left: Vec<_> = seen
            .services
            .values()
            .filter(|it| !it.told.phase().is_terminal())
            .map(|it| it.told.service_name().to_string())
            .collect();
        drop(seen);
        let active = self.metrics.get().map(|it| it.snapshot().active_services);
        if !left.is_empty() || active != Some(0) {
            self.fault(format!(
                "after the drain {active:?} are active, and these have not terminated: {left:?}"
            ));
        }
    }

    /// Lets go of everything. It and the supervisor know each other, so neither would go by itself.
    pub(crate) fn close(&self) {
        let seen = std::mem::take(&mut *lock(&self.seen));
        drop((seen, self.let_go()));
    }

    fn compare(&self, id: u64) {
        let seen = lock(&self.seen);
        let Some(known) = seen.services.get(&id) else {
            return;
        };
        let Some(handle) = &known.handle else {
            return;
        };
        let (shown, told) = (handle.snapshot(), known.told.snapshot(now()));
        drop(seen);
        if shown != told {
            self.fault(format!(
                "#{id} shows\n  {shown:?}\nand has told\n  {told:?}"
            ));
        }
    }

    fn count(&self) {
        let Some(metrics) = self.metrics.get() else {
            return;
        };
        let counts = metrics.snapshot();
        if counts.spawned_total != counts.active_services + counts.terminated_total {
            self.fault(format!("the counters do not add up: {counts:?}"));
        }
    }

    fn hear(&self, event: &ServiceEvent) -> Result<(), String> {
        if event.at != now() {
            return Err("it tells another time than that at which it is told".to_owned());
        }
        if let Some(told) = ServiceLifecycle::from_event(event) {
            let supervisor = self.supervisor();
            let handle = supervisor.and_then(|it| it.service(&event.service));
            let known = Known {
                told,
                handle: handle.filter(|handle| handle.id() == event.id),
                is_removed: false,
            };
            lock(&self.seen).services.insert(event.id, known);
            return Ok(());
        }
        let mut seen = lock(&self.seen);
        let known = seen.services.get_mut(&event.id);
        let known = known.ok_or("a service that was never registered speaks")?;
        known.is_removed |= matches!(event.kind, EventKind::Removed);
        known.told.apply(event).map_err(|error| error.to_string())
    }

    fn fault(&self, what: String) {
        self.trace.add(Entry::Fault(what));
    }
}

impl Observer for Witness {
    fn observe(&self, event: &ServiceEvent) {
        let other = lock(&self.seen).unsettled.filter(|id| *id != event.id);
        if other.is_some() {
            self.settle();
        }
        self.trace.add(Entry::Event(event.clone()));
        self.count();
        if let Err(why) = self.hear(event) {
            self.fault(why);
        }
        lock(&self.seen).unsettled = Some(event.id);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
