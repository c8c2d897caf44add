//! The one table of names, kinds, units and labels.

/// What an instrument measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InstrumentKind {
    /// A number that only grows.
    Counter,
    /// A number that goes up and down.
    Gauge,
    /// How values are spread.
    Histogram,
}

/// One row of [`INSTRUMENTS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Instrument {
    /// The name without the prefix, as OpenTelemetry has it.
    pub name: &'static str,
    /// What is behind the prefix in Prometheus.
    pub prometheus_name: &'static str,
    /// What it measures.
    pub kind: InstrumentKind,
    /// The unit, as UCUM has it. An annotation in braces is for readers, and adds nothing to Prometheus names.
    pub unit: &'static str,
    /// For people.
    pub description: &'static str,
    /// The labels, besides those given to the builder.
    pub labels: &'static [&'static str],
}

macro_rules! instruments {
    ($($id:ident: $kind:ident $name:literal, $prometheus:literal, $unit:literal, $labels:expr, $description:literal;)*) => {
        $(pub(crate) const $id: Instrument = Instrument {
            name: $name,
            prometheus_name: $prometheus,
            kind: InstrumentKind::$kind,
            unit: $unit,
            description: $description,
            labels: $labels,
        };)*

        /// Every metric of this crate.
        pub const INSTRUMENTS: &[Instrument] = &[$($id),*];
    };
}

instruments! {
    SPAWNED: Counter "spawned", "spawned_total", "{service}", &["service"],
        "Services that were spawned.";
    TERMINATED: Counter "terminated", "terminated_total", "{service}", &["service", "reason"],
        "Services that have ended for good, by reason.";
    RESTARTS: Counter "restarts", "restarts_total", "{run}", &["service"],
        "Runs that were begun again after an earlier one had ended.";
    FAILURES: Counter "failures", "failures_total", "{run}", &["service", "kind"],
        "Runs that failed, by kind.";
    BREAKER_TRIPS: Counter "circuit_breaker_trips", "circuit_breaker_trips_total", "{trip}", &["service"],
        "How often a circuit breaker opened.";
    ACTIVE: Gauge "active_services", "active_services", "{service}", &[],
        "Services that are registered and have not terminated.";
    PHASE: Gauge "service_phase", "service_phase", "{service}", &["service", "phase"],
        "How many services are in the phase: of a single one, 1 for the phase that it is in and 0 for the others.";
    UPTIME: Histogram "uptime", "uptime_seconds", "s", &["service"],
        "How long runs lasted.";
    BACKOFF_DELAY: Histogram "backoff_delay", "backoff_delay_seconds", "s", &["service"],
        "How long backoffs before another run were to be, as drawn.";
}

/// From milliseconds to a week: a crash loop and a steady service both fall inside.
pub(crate) const UPTIME_BUCKETS: &[f64] = &[
    0.001, 0.01, 0.1, 1.0, 10.0, 60.0, 300.0, 1_800.0, 3_600.0, 21_600.0, 86_400.0, 604_800.0,
];

/// From a millisecond to an hour.
pub(crate) const DELAY_BUCKETS: &[f64] = &[
    0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3_600.0,
];
