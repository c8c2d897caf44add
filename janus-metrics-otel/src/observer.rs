//! The observer, and how it is set up.

use crate::counts::{Bounds, Counts};
use crate::fleet::{Fleet, Room};
use crate::instruments::{
    ACTIVE, BACKOFF_DELAY, BREAKER_TRIPS, DELAY_BUCKETS, FAILURES, Instrument, InstrumentKind,
    PHASE, RESTARTS, SPAWNED, TERMINATED, UPTIME, UPTIME_BUCKETS,
};
use crate::settings::{self, SettingsError};
use janus_lifecycle::{
    EventKind, FailureKind, Observer, ServiceEvent, ServicePhase, TerminationReason,
};
use opentelemetry::metrics::{AsyncInstrument, Histogram, Meter};
use opentelemetry::{Key, KeyValue, StringValue};
use std::sync::{Arc, Weak};

/// An [`Observer`] that turns events into OpenTelemetry metrics. See the crate's documentation for the list.
///
/// One observer counts one supervisor: two would give the same numbers to their services, and perhaps the same names.
/// For two supervisors on one `Meter`, make two observers and tell them apart by
/// [`with_attribute`](OtelObserverBuilder::with_attribute) or [`with_prefix`](OtelObserverBuilder::with_prefix).
///
/// When it is dropped, its counters and gauges are no longer reported.
#[derive(Debug)]
pub struct OtelObserver {
    state: Arc<State>,
    /// Uptime and backoff delay, unless [`Fleet`] counts them.
    histograms: Option<[Histogram<f64>; 2]>,
}

/// What the callbacks of the instruments share with the observer.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) fleet: Fleet,
    pub(crate) service_label: bool,
    pub(crate) attributes: Vec<KeyValue>,
    pub(crate) prefix: String,
}

/// The settings of an [`OtelObserver`].
#[derive(Debug, Clone)]
pub struct OtelObserverBuilder {
    prefix: String,
    service_label: bool,
    attributes: Vec<KeyValue>,
    uptime_buckets: Vec<f64>,
    delay_buckets: Vec<f64>,
}

impl Default for OtelObserverBuilder {
    fn default() -> Self {
        Self {
            prefix: "janus_supervisor".to_owned(),
            service_label: true,
            attributes: Vec::new(),
            uptime_buckets: UPTIME_BUCKETS.to_vec(),
            delay_buckets: DELAY_BUCKETS.to_vec(),
        }
    }
}

impl OtelObserverBuilder {
    /// Sets what all names begin with. Default: `janus_supervisor`.
    #[must_use]
    pub fn with_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Leaves out the `service` label: totals over the fleet, and the number of services in each phase.
    #[must_use]
    pub fn without_service_label(mut self) -> Self {
        self.service_label = false;
        self
    }

    /// Adds a label to every series, such as which of two supervisors it is about.
    #[must_use]
    pub fn with_attribute(mut self, attribute: KeyValue) -> Self {
        self.attributes.push(attribute);
        self
    }

    /// Sets the boundaries of the uptime histogram, in seconds, rising. Default: a millisecond to a week.
    #[must_use]
    pub fn with_uptime_buckets(mut self, seconds: impl Into<Vec<f64>>) -> Self {
        self.uptime_buckets = seconds.into();
        self
    }

    /// Sets the boundaries of the backoff histogram, in seconds, rising. Default: a millisecond to an hour.
    #[must_use]
    pub fn with_backoff_buckets(mut self, seconds: impl Into<Vec<f64>>) -> Self {
        self.delay_buckets = seconds.into();
        self
    }

    /// Makes the instruments on `meter`, and the observer that feeds them.
    ///
    /// # Errors
    /// [`SettingsError`]: the prefix, an attribute or a boundary is not what a metric can have.
    pub fn build(self, meter: &Meter) -> Result<OtelObserver, SettingsError> {
        self.check()?;
        Ok(self.build_checked(meter))
    }

    fn build_checked(self, meter: &Meter) -> OtelObserver {
        let histogram = |instrument: Instrument, buckets: &[f64]| {
            meter
                .f64_histogram(full_name(&self.prefix, instrument))
                .with_description(instrument.description)
                .with_unit(instrument.unit)
                .with_boundaries(buckets.to_vec())
                .build()
        };
        let histograms = [
            histogram(UPTIME, &self.uptime_buckets),
            histogram(BACKOFF_DELAY, &self.delay_buckets),
        ];
        // OpenTelemetry's own limit is its user's to set.
        let room = Arc::new(Room::new(usize::MAX));
        let state = self.state(room, Bounds::default());
        state.observe_all(meter);
        OtelObserver {
            state,
            histograms: Some(histograms),
        }
    }

    /// The same for checked settings, with everything counted here, and series for as many services as there is room
    /// for.
    #[cfg(feature = "prometheus")]
    pub(crate) fn build_with_room(mut self, room: Arc<Room>) -> OtelObserver {
        let bounds = Bounds {
            uptime: std::mem::take(&mut self.uptime_buckets),
            delay: std::mem::take(&mut self.delay_buckets),
        };
        OtelObserver {
            state: self.state(room, bounds),
            histograms: None,
        }
    }

    pub(crate) fn check(&self) -> Result<(), SettingsError> {
        settings::check_prefix(&self.prefix)?;
        settings::check_attributes(&self.attributes)?;
        settings::check_buckets(&self.uptime_buckets)?;
        settings::check_buckets(&self.delay_buckets)
    }

    fn state(self, room: Arc<Room>, bounds: Bounds) -> Arc<State> {
        let fleet = if self.service_label {
            Fleet::new(room, false, bounds)
        } else {
            Fleet::new(Arc::new(Room::new(0)), true, bounds)
        };
        Arc::new(State {
            fleet,
            service_label: self.service_label,
            attributes: self.attributes,
            prefix: self.prefix,
        })
    }
}

impl OtelObserver {
    /// An observer with the default settings.
    #[must_use]
    pub fn new(meter: &Meter) -> Self {
        Self::builder().build_checked(meter)
    }

    /// Settings to change.
    #[must_use]
    pub fn builder() -> OtelObserverBuilder {
        OtelObserverBuilder::default()
    }

    #[cfg(feature = "prometheus")]
    pub(crate) fn state(&self) -> Weak<State> {
        Arc::downgrade(&self.state)
    }
}

impl Observer for OtelObserver {
    fn observe(&self, event: &ServiceEvent) {
        let counted = self.state.fleet.count(event);
        let Some([uptime, delay]) = self.histograms.as_ref().filter(|_| counted) else {
            return;
        };
        let (histogram, value) = match &event.kind {
            EventKind::RunEnded { ran_for, .. } => (uptime, ran_for),
            EventKind::BackingOff { delay: value, .. } => (delay, value),
            _ => return,
        };
        let mut attributes = self.state.attributes.clone();
        if self.state.service_label {
            attributes.push(service_label(&event.service));
        }
        histogram.record(value.as_secs_f64(), &attributes);
    }
}

impl Drop for OtelObserver {
    /// Gives its room back at once. Whoever is collecting just now may keep the state a little longer.
    fn drop(&mut self) {
        self.state.fleet.close();
    }
}

fn full_name(prefix: &str, instrument: Instrument) -> String {
    format!("{prefix}.{}", instrument.name)
}

fn service_label(name: &Arc<str>) -> KeyValue {
    KeyValue::new(
        Key::from_static_str("service"),
        StringValue::from(Arc::clone(name)),
    )
}

/// On the series of all services for which there was no room. OpenTelemetry marks its own so.
pub(crate) const OVERFLOW: &str = "otel.metric.overflow";

/// Tells the numbers of one service, or of many, for one metric: each value, and the label that tells it from the
/// others.
type Numbers = fn(&Counts, &mut dyn FnMut(u64, Option<(&'static str, &'static str)>));

/// Every metric that is a number for each service.
pub(crate) const NUMBERS: &[(Instrument, Numbers)] = &[
    (SPAWNED, |counts, tell| tell(counts.spawned, None)),
    (RESTARTS, |counts, tell| tell(counts.restarts, None)),
    (BREAKER_TRIPS, |counts, tell| {
        tell(counts.breaker_trips, None);
    }),
    (TERMINATED, |counts, tell| {
        for (reason, n) in TerminationReason::LABELS.iter().zip(counts.terminated) {
            tell(n, Some(("reason", reason)));
        }
    }),
    (FAILURES, |counts, tell| {
        for (kind, n) in FailureKind::ALL.iter().zip(counts.failures) {
            tell(n, Some(("kind", kind.as_str())));
        }
    }),
    (PHASE, |counts, tell| {
        for (phase, n) in ServicePhase::ALL.iter().zip(counts.phases) {
            tell(n, Some(("phase", phase.as_str())));
        }
    }),
];

impl State {
    /// Makes the instruments that are asked for their values when somebody collects.
    fn observe_all(self: &Arc<Self>, meter: &Meter) {
        for &(instrument, numbers) in NUMBERS {
            let state = Arc::downgrade(self);
            let collect = move |of: &dyn AsyncInstrument<u64>| Self::collect(&state, numbers, of);
            let name = full_name(&self.prefix, instrument);
            if instrument.kind == InstrumentKind::Gauge {
                meter
                    .u64_observable_gauge(name)
                    .with_description(instrument.description)
                    .with_unit(instrument.unit)
                    .with_callback(collect)
                    .build();
            } else {
                meter
                    .u64_observable_counter(name)
                    .with_description(instrument.description)
                    .with_unit(instrument.unit)
                    .with_callback(collect)
                    .build();
            }
        }
        let state = Arc::downgrade(self);
        meter
            .u64_observable_gauge(full_name(&self.prefix, ACTIVE))
            .with_description(ACTIVE.description)
            .with_unit(ACTIVE.unit)
            .with_callback(move |instrument| {
                if let Some(state) = state.upgrade() {
                    instrument.observe(state.fleet.active(), &state.attributes);
                }
            })
            .build();
    }

    /// Reports every series of one instrument. The state is gone when its observer is.
    fn collect(state: &Weak<Self>, numbers: Numbers, instrument: &dyn AsyncInstrument<u64>) {
        let Some(state) = state.upgrade() else {
            return;
        };
        let mut attributes = state.attributes.clone();
        let common = attributes.len();
        state.fleet.visit(|service, counts, _| {
            attributes.truncate(common);
            match service {
                Some(service) => attributes.push(service_label(service)),
                None if state.service_label => attributes.push(KeyValue::new(OVERFLOW, true)),
                None => {}
            }
            let of_service = attributes.len();
            numbers(counts, &mut |value, label| {
                attributes.truncate(of_service);
                attributes.extend(label.map(|(key, value)| KeyValue::new(key, value)));
                instrument.observe(value, &attributes);
            });
        });
    }
}
