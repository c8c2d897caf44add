//! The Prometheus path: registry, reader, provider and text exposition in one.

use crate::instruments::{BACKOFF_DELAY, UPTIME};
use crate::observer::{OtelObserver, OtelObserverBuilder, State};
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Meter, MeterProvider as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::{Instrument, SdkMeterProvider, Stream};
use prometheus::proto::{Bucket, Histogram, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{Registry, TextEncoder};
use std::collections::BTreeMap;
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
    /// The observers made here, whose histograms are kept in step with their services.
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

    /// Sets for how many services there is room. Beyond it, OpenTelemetry folds the services of a metric into one series that
    /// is labelled `otel_metric_overflow`. Services that were removed still take up room in the two histograms. Default: 2,000.
    ///
    /// The room is reserved at once: about 100 bytes for each service and metric.
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
        let max_services = self.max_services;
        let room = move |instrument: &Instrument| {
            let labels = crate::instruments::series_of_one_service(instrument.name());
            Stream::builder()
                .with_cardinality_limit(max_services.saturating_mul(labels))
                .build()
                .ok()
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
            observers: Mutex::default(),
        })
    }
}

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
        self.observer_with(OtelObserver::builder())
    }

    /// An observer for one supervisor.
    #[must_use]
    pub fn observer_with(&self, settings: OtelObserverBuilder) -> Arc<OtelObserver> {
        let observer = settings.build(&self.meter());
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
        for state in observers.iter().filter(|state| state.service_label) {
            keep_in_step(&mut families, state);
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

/// Gives the histograms exactly the series that the counters have: takes out those of services that are gone, which
/// OpenTelemetry keeps for ever, and adds those of services without a value yet, at zero.
fn keep_in_step(families: &mut Vec<MetricFamily>, state: &State) {
    let mut live = BTreeMap::new();
    state.fleet.for_each(|service, _| {
        live.insert(Arc::clone(service), true);
    });
    for (instrument, buckets) in [
        (UPTIME, &state.uptime_buckets),
        (BACKOFF_DELAY, &state.delay_buckets),
    ] {
        let name = prometheus_name(&state.prefix, instrument.prometheus_name);
        let at = families.iter().position(|family| family.name() == name);
        let mut metrics = at.map_or_else(Vec::new, |at| families[at].take_metric());
        live.values_mut().for_each(|missing| *missing = true);
        metrics.retain(|metric| match service_of(metric, &state.attributes) {
            None => true,
            Some(service) => match live.get_mut(service) {
                None => false,
                Some(missing) => {
                    *missing = false;
                    true
                }
            },
        });
        let missing = live.iter().filter(|(_, missing)| **missing);
        metrics.extend(missing.map(|(service, _)| empty(service, &state.attributes, buckets)));
        match at {
            Some(at) if metrics.is_empty() => {
                families.remove(at);
            }
            Some(at) => families[at].set_metric(metrics),
            None if metrics.is_empty() => {}
            None => {
                let mut family = MetricFamily::default();
                family.set_name(name);
                family.set_help(instrument.description.to_owned());
                family.set_field_type(MetricType::HISTOGRAM);
                family.set_metric(metrics);
                families.push(family);
            }
        }
    }
}

/// The service that a series is about, if it comes from the observer with these attributes.
fn service_of<'a>(metric: &'a Metric, attributes: &[KeyValue]) -> Option<&'a str> {
    let labels = metric.get_label();
    let (service, others): (Vec<_>, Vec<_>) =
        labels.iter().partition(|label| label.name() == "service");
    let same = others.len() == attributes.len()
        && attributes.iter().all(|attribute| {
            let (name, value) = (label_name(attribute.key.as_str()), attribute.value.as_str());
            others
                .iter()
                .any(|label| label.name() == name && label.value() == value)
        });
    match service.as_slice() {
        [service] if same => Some(service.value()),
        _ => None,
    }
}

/// A histogram without values.
fn empty(service: &str, attributes: &[KeyValue], bounds: &[f64]) -> Metric {
    let label = |name: &str, value: &str| {
        let mut label = LabelPair::default();
        label.set_name(name.to_owned());
        label.set_value(value.to_owned());
        label
    };
    let mut labels: Vec<LabelPair> = attributes
        .iter()
        .map(|attribute| {
            label(
                &label_name(attribute.key.as_str()),
                &attribute.value.as_str(),
            )
        })
        .collect();
    labels.push(label("service", service));
    let buckets = bounds.iter().map(|bound| {
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(*bound);
        bucket
    });
    let mut histogram = Histogram::default();
    histogram.set_bucket(buckets.collect());
    let mut metric = Metric::default();
    metric.set_label(labels);
    metric.set_histogram(histogram);
    metric
}

fn prometheus_name(prefix: &str, name: &str) -> String {
    let mut full = label_name(prefix);
    full.push('_');
    full.push_str(name);
    full
}

/// As the exporter does it: whatever Prometheus does not allow becomes an underscore.
fn label_name(key: &str) -> String {
    key.chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect()
}
