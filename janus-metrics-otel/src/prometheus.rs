//! The Prometheus path: registry, reader, provider and text exposition in one.

use crate::counts::Spread;
use crate::fleet::Room;
use crate::instruments::{ACTIVE, BACKOFF_DELAY, Instrument, InstrumentKind, UPTIME};
use crate::observer::{NUMBERS, OVERFLOW, OtelObserver, OtelObserverBuilder, State};
use crate::settings::{SettingsError, prometheus_name};
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Meter, MeterProvider as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use prometheus::proto::{
    Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType,
};
use prometheus::{Registry, TextEncoder};
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// OpenTelemetry metrics as Prometheus text, for any HTTP handler.
///
/// Rendering collects from every service; with many of them, do it on a blocking thread.
///
/// Its metrics carry no `otel_scope_*` labels. Resource attributes, if there are any, make the `target_info` metric.
pub struct PrometheusExporter {
    registry: Registry,
    provider: SdkMeterProvider,
    /// For how many services there are series of their own.
    room: Arc<Room>,
    /// The observers made here. Their metrics do not go through OpenTelemetry: it would take a copy of every series
    /// into maps of its own at every scrape, and could neither announce a histogram nor forget it.
    observers: Mutex<Vec<Weak<State>>>,
}

/// The settings of a [`PrometheusExporter`].
#[derive(Debug, Clone)]
pub struct PrometheusExporterBuilder {
    resource: Vec<KeyValue>,
    max_services: usize,
}

impl Default for PrometheusExporterBuilder {
    fn default() -> Self {
        Self {
            resource: Vec::new(),
            max_services: 2_000,
        }
    }
}

impl PrometheusExporterBuilder {
    /// Adds a resource attribute, such as `service.name`: a label of `target_info`.
    #[must_use]
    pub fn with_resource(mut self, attribute: KeyValue) -> Self {
        self.resource.push(attribute);
        self
    }

    /// Sets for how many services there is room, over all observers. A service that registers beyond that has no series
    /// of its own, for as long as it is registered: those without one share a series that is labelled
    /// `otel_metric_overflow`. Default: 2,000, which is a hundred thousand samples a scrape.
    #[must_use]
    pub const fn with_max_services(mut self, services: usize) -> Self {
        self.max_services = services;
        self
    }

    /// Sets everything up.
    ///
    /// # Errors
    /// [`PrometheusError::Setup`] if OpenTelemetry refuses.
    pub fn build(self) -> Result<PrometheusExporter, PrometheusError> {
        let registry = Registry::new();
        let reader = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            .scope_info_enabled(false)
            .build()
            .map_err(|error| PrometheusError::Setup(error.to_string()))?;
        let resource = Resource::builder_empty().with_attributes(self.resource);
        let provider = SdkMeterProvider::builder()
            .with_reader(reader)
            .with_resource(resource.build())
            .build();
        Ok(PrometheusExporter {
            registry,
            provider,
            room: Arc::new(Room::new(self.max_services)),
            observers: Mutex::default(),
        })
    }
}

impl PrometheusExporter {
    /// The content type of what [`render`](Self::render) returns.
    pub const CONTENT_TYPE: &'static str = "text/plain; version=0.0.4; charset=utf-8";

    /// An exporter with the default settings.
    ///
    /// # Errors
    /// As [`PrometheusExporterBuilder::build`].
    pub fn new() -> Result<Self, PrometheusError> {
        Self::builder().build()
    }

    /// Settings to change.
    #[must_use]
    pub fn builder() -> PrometheusExporterBuilder {
        PrometheusExporterBuilder::default()
    }

    /// A meter of this exporter's provider, for metrics of your own.
    #[must_use]
    pub fn meter(&self) -> Meter {
        self.provider.meter("janus")
    }

    /// The registry, for collectors of your own.
    #[must_use]
    pub const fn registry(&self) -> &Registry {
        &self.registry
    }

    /// An observer for one supervisor, with the default settings.
    ///
    /// To run two supervisors at the same time, tell their observers apart: see [`observer_with`](Self::observer_with).
    #[must_use]
    pub fn observer(&self) -> Arc<OtelObserver> {
        let defaults = OtelObserver::builder();
        self.known(defaults.build_with_room(Arc::clone(&self.room)))
    }

    /// An observer for one supervisor.
    ///
    /// Observers with the same prefix and attributes, as Prometheus spells them, have the same series: of these, the
    /// newest is shown. So a supervisor's successor takes its place. To run two supervisors at the same time, tell them
    /// apart by [`with_attribute`](OtelObserverBuilder::with_attribute) or
    /// [`with_prefix`](OtelObserverBuilder::with_prefix).
    ///
    /// # Errors
    /// As [`OtelObserverBuilder::build`].
    pub fn observer_with(
        &self,
        settings: OtelObserverBuilder,
    ) -> Result<Arc<OtelObserver>, SettingsError> {
        settings.check()?;
        Ok(self.known(settings.build_with_room(Arc::clone(&self.room))))
    }

    fn known(&self, observer: OtelObserver) -> Arc<OtelObserver> {
        self.observers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(observer.state());
        Arc::new(observer)
    }

    /// Everything as Prometheus text, format version 0.0.4.
    ///
    /// # Errors
    /// [`PrometheusError::NameTaken`] if a metric of your own has the name of one of the supervisor's, or of a sample of
    /// one.
    /// [`PrometheusError::Encode`] if the encoder refuses a metric.
    pub fn render(&self) -> Result<String, PrometheusError> {
        let mut families = self.registry.gather();
        let taken: HashSet<String> = families.iter().flat_map(names_in).collect();
        for state in self.states() {
            for mut family in families_of(&state) {
                if let Some(name) = names_in(&family).into_iter().find(|it| taken.contains(it)) {
                    return Err(PrometheusError::NameTaken(name));
                }
                let name = family.name();
                match families.iter_mut().find(|known| known.name() == name) {
                    None => families.push(family),
                    Some(known) => known.mut_metric().append(family.mut_metric()),
                }
            }
        }
        let encoder = TextEncoder::new();
        encoder
            .encode_to_string(&families)
            .map_err(|error| PrometheusError::Encode(error.to_string()))
    }

    /// What the observers that are still there have counted; of those with the same series, the newest.
    fn states(&self) -> Vec<Arc<State>> {
        let mut observers = self
            .observers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        observers.retain(|state| state.strong_count() > 0);
        let mut known = HashSet::new();
        let newest_first = observers.iter().rev().filter_map(Weak::upgrade);
        let mut states: Vec<_> = newest_first
            .filter(|state| known.insert(identity(state)))
            .collect();
        states.reverse();
        states
    }
}

/// The names that a family has in the exposition: its own, and those of its samples.
fn names_in(family: &MetricFamily) -> Vec<String> {
    let suffixes: &[&str] = match family.get_field_type() {
        MetricType::HISTOGRAM => &["", "_bucket", "_sum", "_count"],
        MetricType::SUMMARY => &["", "_sum", "_count"],
        _ => &[""],
    };
    let name = family.name();
    let names = suffixes.iter().map(|suffix| format!("{name}{suffix}"));
    names.collect()
}

impl fmt::Debug for PrometheusExporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrometheusExporter").finish_non_exhaustive()
    }
}

/// Why there is no exposition.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PrometheusError {
    /// OpenTelemetry's exporter could not be set up.
    #[error("cannot set up the Prometheus exporter: {0}")]
    Setup(String),
    /// A metric of the registry or of the meter has a name that an observer's metric has.
    #[error(
        "two metrics are named {0}: give the observer another prefix, or the other metric another name"
    )]
    NameTaken(String),
    /// The metrics could not be written as text.
    #[error("cannot write the metrics as Prometheus text: {0}")]
    Encode(String),
}

/// The prefix and the labels that tell an observer's series from those of others. An empty label is none to Prometheus.
fn identity(state: &State) -> (String, BTreeMap<String, String>) {
    let attributes = state.attributes.iter();
    let label = |own: &KeyValue| (prometheus_name(own.key.as_str()), own.value.to_string());
    let labels = attributes.map(label).filter(|(_, value)| !value.is_empty());
    (prometheus_name(&state.prefix), labels.collect())
}

/// All metrics of one observer, in the order of the table.
fn families_of(state: &State) -> Vec<MetricFamily> {
    let bounds = state.fleet.bounds();
    let mut numbers: Vec<Vec<Metric>> = vec![Vec::new(); NUMBERS.len()];
    let (mut uptimes, mut delays) = (Vec::new(), Vec::new());
    state.fleet.visit(|service, counts, spreads| {
        let labels = labels(state, service);
        for ((instrument, numbers), metrics) in NUMBERS.iter().zip(&mut numbers) {
            numbers(counts, &mut |value, other| {
                let mut labels = labels.clone();
                labels.extend(other.map(|(name, value)| label(name, value)));
                sort(&mut labels);
                metrics.push(number(instrument.kind, value, labels));
            });
        }
        uptimes.push(histogram(labels.clone(), &bounds.uptime, &spreads.uptime));
        delays.push(histogram(labels, &bounds.delay, &spreads.delay));
    });
    let active = number(ACTIVE.kind, state.fleet.active(), common_labels(state));
    let numbers = NUMBERS.iter().map(|(of, _)| *of).zip(numbers);
    let others = [
        (ACTIVE, vec![active]),
        (UPTIME, uptimes),
        (BACKOFF_DELAY, delays),
    ];
    numbers
        .chain(others)
        .filter(|(_, metrics)| !metrics.is_empty()) // the encoder refuses a family without metrics
        .map(|(instrument, metrics)| family(&state.prefix, instrument, metrics))
        .collect()
}

fn family(prefix: &str, instrument: Instrument, metrics: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(prometheus_name(prefix) + "_" + instrument.prometheus_name);
    family.set_help(instrument.description.to_owned());
    family.set_field_type(match instrument.kind {
        InstrumentKind::Counter => MetricType::COUNTER,
        InstrumentKind::Gauge => MetricType::GAUGE,
        InstrumentKind::Histogram => MetricType::HISTOGRAM,
    });
    family.set_metric(metrics);
    family
}

fn label(name: &str, value: &str) -> LabelPair {
    let mut label = LabelPair::default();
    label.set_name(name.to_owned());
    label.set_value(value.to_owned());
    label
}

fn sort(labels: &mut [LabelPair]) {
    labels.sort_by(|a, b| a.name().cmp(b.name()));
}

/// Those that the builder was given.
fn common_labels(state: &State) -> Vec<LabelPair> {
    let attributes = state.attributes.iter();
    let label = |own: &KeyValue| label(&prometheus_name(own.key.as_str()), &own.value.as_str());
    attributes.map(label).collect()
}

/// The labels of every series of one service, or of those without one of their own, sorted as OpenTelemetry has them.
fn labels(state: &State, service: Option<&Arc<str>>) -> Vec<LabelPair> {
    let mut labels = common_labels(state);
    match service {
        Some(service) => labels.push(label("service", service)),
        None if state.service_label => labels.push(label(&prometheus_name(OVERFLOW), "true")),
        None => {}
    }
    sort(&mut labels);
    labels
}

#[expect(
    clippy::cast_precision_loss,
    reason = "Prometheus knows no other numbers"
)]
fn number(kind: InstrumentKind, value: u64, labels: Vec<LabelPair>) -> Metric {
    let mut metric = Metric::default();
    metric.set_label(labels);
    if kind == InstrumentKind::Gauge {
        let mut gauge = Gauge::default();
        gauge.set_value(value as f64);
        metric.set_gauge(gauge);
    } else {
        let mut counter = Counter::default();
        counter.set_value(value as f64);
        metric.set_counter(counter);
    }
    metric
}

fn histogram(labels: Vec<LabelPair>, bounds: &[f64], spread: &Spread) -> Metric {
    let mut below = 0;
    let buckets = bounds.iter().zip(&spread.buckets).map(|(bound, n)| {
        below += n;
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(*bound);
        bucket.set_cumulative_count(below);
        bucket
    });
    let mut histogram = Histogram::default();
    histogram.set_bucket(buckets.collect());
    histogram.set_sample_sum(spread.sum);
    histogram.set_sample_count(spread.count);
    let mut metric = Metric::default();
    metric.set_label(labels);
    metric.set_histogram(histogram);
    metric
}
