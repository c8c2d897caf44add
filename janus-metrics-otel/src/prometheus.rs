//! The Prometheus path: registry, reader, provider and text exposition in one.

use crate::fleet::{Room, Spread};
use crate::instruments::{BACKOFF_DELAY, PHASE, UPTIME};
use crate::observer::{OVERFLOW, OtelObserver, OtelObserverBuilder, State};
use crate::settings::{SettingsError, prometheus_name};
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Meter, MeterProvider as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::{Instrument, SdkMeterProvider, Stream};
use prometheus::proto::{Bucket, Histogram, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{Registry, TextEncoder};
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
    /// The observers made here, whose histograms are not OpenTelemetry's.
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

    /// Sets for how many services there is room, over all observers. A service that registers beyond that has no series of its
    /// own, for as long as it is registered: those without one share a series that is labelled `otel_metric_overflow`. Default:
    /// 2,000; at most a million.
    ///
    /// OpenTelemetry reserves room at once: about 100 bytes for each service and series.
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
        // Who has series is decided by `Room`: OpenTelemetry's own limit must never be met. A gauge lets go of an old series
        // only after the next collection, so there are two fleets of them at most.
        let services = self.max_services.min(MAX_SERVICES);
        let room = move |instrument: &Instrument| {
            let series = crate::instruments::series_of_one_service(instrument.name());
            let fleets = if instrument.name().ends_with(PHASE.name) {
                2
            } else {
                1
            };
            let limit = (services + MAX_OBSERVERS) * series * fleets;
            let stream = Stream::builder().with_cardinality_limit(limit);
            stream.build().ok()
        };
        let resource = Resource::builder_empty().with_attributes(self.resource);
        let provider = SdkMeterProvider::builder()
            .with_reader(reader)
            .with_resource(resource.build())
            .with_view(room)
            .build();
        Ok(PrometheusExporter {
            registry,
            provider,
            room: Arc::new(Room::new(services)),
            observers: Mutex::default(),
        })
    }
}

/// Observers of one exporter, at most, if all of them have more services than there is room for.
const MAX_OBSERVERS: usize = 64;

/// More would only reserve memory: no Prometheus takes a hundred million series from one target.
const MAX_SERVICES: usize = 1_000_000;

impl PrometheusExporter {
    /// The content type of what [`render`](Self::render) answers.
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
    #[must_use]
    pub fn observer(&self) -> Arc<OtelObserver> {
        let defaults = OtelObserver::builder();
        self.known(defaults.build_with_room(&self.meter(), Arc::clone(&self.room)))
    }

    /// An observer for one supervisor.
    ///
    /// # Errors
    /// As [`OtelObserverBuilder::build`].
    pub fn observer_with(
        &self,
        settings: OtelObserverBuilder,
    ) -> Result<Arc<OtelObserver>, SettingsError> {
        settings.check()?;
        Ok(self.known(settings.build_with_room(&self.meter(), Arc::clone(&self.room))))
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
    /// [`PrometheusError::Encode`] if the encoder refuses a metric.
    pub fn render(&self) -> Result<String, PrometheusError> {
        let mut families = self.registry.gather();
        let observers: Vec<Arc<State>> = {
            let mut observers = self
                .observers
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            observers.retain(|state| state.strong_count() > 0);
            observers.iter().filter_map(Weak::upgrade).collect()
        };
        for state in &observers {
            add_histograms(&mut families, state);
        }
        let encoder = TextEncoder::new();
        encoder
            .encode_to_string(&families)
            .map_err(|error| PrometheusError::Encode(error.to_string()))
    }
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
    /// The metrics could not be written as text.
    #[error("cannot write the metrics as Prometheus text: {0}")]
    Encode(String),
}

/// Adds the histograms of one observer, which have exactly the series that its counters have.
fn add_histograms(families: &mut Vec<MetricFamily>, state: &State) {
    let bounds = state.fleet.bounds();
    let (mut uptimes, mut delays) = (Vec::new(), Vec::new());
    state.fleet.spreads(|service, spreads| {
        let labels = labels(state, service);
        uptimes.push(histogram(labels.clone(), &bounds.uptime, &spreads.uptime));
        delays.push(histogram(labels, &bounds.delay, &spreads.delay));
    });
    for (instrument, mut metrics) in [(UPTIME, uptimes), (BACKOFF_DELAY, delays)] {
        if metrics.is_empty() {
            continue; // the encoder refuses a family without metrics
        }
        let name = prometheus_name(&state.prefix) + "_" + instrument.prometheus_name;
        if let Some(family) = families.iter_mut().find(|family| family.name() == name) {
            family.mut_metric().append(&mut metrics);
            continue;
        }
        let mut family = MetricFamily::default();
        family.set_name(name);
        family.set_help(instrument.description.to_owned());
        family.set_field_type(MetricType::HISTOGRAM);
        family.set_metric(metrics);
        families.push(family);
    }
}

fn labels(state: &State, service: Option<&Arc<str>>) -> Vec<LabelPair> {
    let label = |name: &str, value: &str| {
        let mut label = LabelPair::default();
        label.set_name(prometheus_name(name));
        label.set_value(value.to_owned());
        label
    };
    let mut labels: Vec<LabelPair> = state
        .attributes
        .iter()
        .map(|attribute| label(attribute.key.as_str(), &attribute.value.as_str()))
        .collect();
    match service {
        Some(service) => labels.push(label("service", service)),
        None if state.service_label => labels.push(label(OVERFLOW, "true")),
        None => {}
    }
    labels
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
