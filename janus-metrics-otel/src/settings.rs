//! What metrics cannot have.

use opentelemetry::KeyValue;
use std::error::Error;
use std::fmt;

/// Why there is no observer with these settings.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum SettingsError {
    /// The prefix cannot begin a name: OpenTelemetry would drop the metrics without a word.
    Prefix {
        /// The prefix.
        prefix: String,
    },
    /// The attribute cannot be a label, or is one that these metrics have already.
    Attribute {
        /// Its key.
        key: String,
    },
    /// Boundaries are finite numbers that rise.
    Buckets {
        /// The boundaries.
        buckets: Vec<f64>,
    },
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Prefix { prefix } => write!(
                f,
                "{prefix:?} cannot begin the name of a metric: it needs a letter, then letters, digits or any of `_.-/`, {MAX_PREFIX} at most"
            ),
            Self::Attribute { key } => write!(
                f,
                "{key:?} cannot be another label: it needs a letter, then letters, digits or any of `_.-/`, and must not be there already"
            ),
            Self::Buckets { buckets } => write!(
                f,
                "{buckets:?} cannot be the boundaries of buckets: they must be finite and rise"
            ),
        }
    }
}

impl Error for SettingsError {}

/// OpenTelemetry allows 255 for the whole name.
const MAX_PREFIX: usize = 200;

const OWN_LABELS: [&str; 6] = [
    "service",
    "reason",
    "kind",
    "phase",
    "le",
    "otel_metric_overflow",
];

pub(crate) fn check_prefix(prefix: &str) -> Result<(), SettingsError> {
    if is_name(prefix) && prefix.len() <= MAX_PREFIX {
        return Ok(());
    }
    let prefix = prefix.to_owned();
    Err(SettingsError::Prefix { prefix })
}

pub(crate) fn check_attributes(attributes: &[KeyValue]) -> Result<(), SettingsError> {
    let mut labels = OWN_LABELS.map(str::to_owned).to_vec();
    for attribute in attributes {
        let key = attribute.key.as_str();
        let label = prometheus_name(key);
        if !is_name(key) || labels.contains(&label) {
            let key = key.to_owned();
            return Err(SettingsError::Attribute { key });
        }
        labels.push(label);
    }
    Ok(())
}

pub(crate) fn check_buckets(buckets: &[f64]) -> Result<(), SettingsError> {
    let rise = buckets.windows(2).all(|pair| pair[0] < pair[1]);
    if rise && buckets.iter().all(|bound| bound.is_finite()) {
        return Ok(());
    }
    let buckets = buckets.to_vec();
    Err(SettingsError::Buckets { buckets })
}

fn is_name(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_.-/".contains(c);
    text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.chars().all(allowed)
}

/// A valid name as Prometheus shows it: what it does not allow becomes an underscore.
pub(crate) fn prometheus_name(name: &str) -> String {
    name.replace(|c: char| !c.is_ascii_alphanumeric(), "_")
}
