//! Configuration files: durations as people write them, and errors that name the field, the value and the rule.

use crate::BackoffConfig;
use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, SerializeStruct, Serializer};
use std::fmt;
use std::time::Duration;

/// A duration in a configuration file: `"250ms"`, `"5m"`, `"1h 30m"`.
///
/// It is read as it stands and resolved by [`resolve`](Self::resolve), which knows the name of the field, so that the error
/// can name it. It is written in the same form.
#[derive(Debug, Clone)]
pub struct HumanDuration(Raw);

#[derive(Debug, Clone)]
enum Raw {
    Parsed(Duration),
    Invalid(String),
}

impl HumanDuration {
    /// The duration, or an error that names `field`, the value and what was expected.
    ///
    /// # Errors
    /// Text: `shutdown_timeout: "5 parsecs" is not a duration like "250ms" or "5m": unknown time unit ..`.
    pub fn resolve<E: de::Error>(self, field: &str) -> Result<Duration, E> {
        match self.0 {
            Raw::Parsed(duration) => Ok(duration),
            Raw::Invalid(why) => Err(E::custom(format_args!("{field}: {why}"))),
        }
    }
}

impl From<Duration> for HumanDuration {
    fn from(duration: Duration) -> Self {
        Self(Raw::Parsed(duration))
    }
}

impl Serialize for HumanDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Raw::Parsed(duration) => serializer.collect_str(&humantime::format_duration(*duration)),
            Raw::Invalid(why) => Err(serde::ser::Error::custom(why)),
        }
    }
}

impl<'de> Deserialize<'de> for HumanDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(HumanDurationVisitor)
    }
}

struct HumanDurationVisitor;

impl HumanDurationVisitor {
    fn invalid(value: impl fmt::Display, why: impl fmt::Display) -> HumanDuration {
        HumanDuration(Raw::Invalid(format!(
            "{value} is not a duration like \"250ms\" or \"5m\": {why}"
        )))
    }
}

impl Visitor<'_> for HumanDurationVisitor {
    type Value = HumanDuration;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration like \"250ms\" or \"5m\"")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<HumanDuration, E> {
        Ok(match humantime::parse_duration(text) {
            Ok(duration) => HumanDuration(Raw::Parsed(duration)),
            Err(why) => Self::invalid(format_args!("{text:?}"), why),
        })
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<HumanDuration, E> {
        Ok(Self::invalid(number, "a number needs a unit, in quotes"))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<HumanDuration, E> {
        Ok(Self::invalid(number, "a number needs a unit, in quotes"))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<HumanDuration, E> {
        Ok(Self::invalid(number, "a number needs a unit, in quotes"))
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<HumanDuration, E> {
        Ok(Self::invalid(value, "text was expected"))
    }
}

/// [`BackoffConfig`] as it stands in a file: every field may be left out.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct InFile {
    base_delay: Option<HumanDuration>,
    max_delay: Option<HumanDuration>,
    cooldown_period: Option<HumanDuration>,
    max_retries: Option<u32>,
    circuit_breaker_window: Option<HumanDuration>,
    jitter: Option<crate::Jitter>,
    initial_delay: Option<HumanDuration>,
}

/// Fields that are left out have their defaults. What was read is [validated](BackoffConfig::validate).
impl<'de> Deserialize<'de> for BackoffConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let file = InFile::deserialize(deserializer)?;
        let duration = |value: Option<HumanDuration>, field: &str, default: Duration| {
            value.map_or(Ok(default), |value| value.resolve(field))
        };
        let default = Self::default();
        let config = Self {
            base_delay: duration(file.base_delay, "base_delay", default.base_delay)?,
            max_delay: duration(file.max_delay, "max_delay", default.max_delay)?,
            cooldown_period: duration(
                file.cooldown_period,
                "cooldown_period",
                default.cooldown_period,
            )?,
            max_retries: file.max_retries.unwrap_or(default.max_retries),
            circuit_breaker_window: duration(
                file.circuit_breaker_window,
                "circuit_breaker_window",
                default.circuit_breaker_window,
            )?,
            jitter: file.jitter.unwrap_or(default.jitter),
            initial_delay: file
                .initial_delay
                .map(|value| value.resolve("initial_delay"))
                .transpose()?,
        };
        config.validate().map_err(de::Error::custom)?;
        Ok(config)
    }
}

impl Serialize for BackoffConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let fields = 6 + usize::from(self.initial_delay.is_some());
        let mut out = serializer.serialize_struct("BackoffConfig", fields)?;
        out.serialize_field("base_delay", &HumanDuration::from(self.base_delay))?;
        out.serialize_field("max_delay", &HumanDuration::from(self.max_delay))?;
        out.serialize_field(
            "cooldown_period",
            &HumanDuration::from(self.cooldown_period),
        )?;
        out.serialize_field("max_retries", &self.max_retries)?;
        out.serialize_field(
            "circuit_breaker_window",
            &HumanDuration::from(self.circuit_breaker_window),
        )?;
        out.serialize_field("jitter", &self.jitter)?;
        if let Some(initial) = self.initial_delay {
            out.serialize_field("initial_delay", &HumanDuration::from(initial))?;
        }
        out.end()
    }
}
