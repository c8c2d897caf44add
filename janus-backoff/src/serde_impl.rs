//! Configuration files: durations as people write them, and errors that name the field, the value and the rule.

use crate::{BackoffConfig, Jitter};
use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, SerializeStruct, Serializer};
use std::fmt;
use std::time::Duration;

/// A duration in a configuration file: `"250ms"`, `"5m"`, `"1h 30m"`. It is written in the same form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HumanDuration(pub Duration);

impl Serialize for HumanDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(self.0))
    }
}

impl<'de> Deserialize<'de> for HumanDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(HumanDurationVisitor)
    }
}

struct HumanDurationVisitor;

impl Visitor<'_> for HumanDurationVisitor {
    type Value = HumanDuration;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration like \"250ms\" or \"5m\"")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<HumanDuration, E> {
        let parsed = humantime::parse_duration(text).map_err(|why| {
            E::custom(format_args!(
                "{text:?} is not a duration like \"250ms\" or \"5m\": {why}"
            ))
        })?;
        Ok(HumanDuration(parsed))
    }
}

/// Declares a struct of optional settings that is read from a map. Unlike a derived one, it names the field in every
/// error, also in one about the field's value.
#[doc(hidden)]
#[macro_export]
macro_rules! __settings {
    ($name:ident, $what:literal { $($field:ident: $type:ty,)* }) => {
        #[derive(Default)]
        struct $name {
            $($field: Option<$type>,)*
        }

        impl<'de> ::serde::Deserialize<'de> for $name {
            fn deserialize<D: ::serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Fields;

                impl<'de> ::serde::de::Visitor<'de> for Fields {
                    type Value = $name;

                    fn expecting(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                        f.write_str($what)
                    }

                    fn visit_map<A: ::serde::de::MapAccess<'de>>(self, mut map: A) -> Result<$name, A::Error> {
                        use ::serde::de::Error;
                        let mut settings = $name::default();
                        while let Some(key) = map.next_key::<String>()? {
                            match key.as_str() {
                                $(stringify!($field) if settings.$field.is_some() => {
                                    return Err(A::Error::duplicate_field(stringify!($field)));
                                })*
                                $(stringify!($field) => {
                                    settings.$field = map.next_value().map_err(|why| {
                                        // Some formats add lines about the place, and will again.
                                        let why = why.to_string();
                                        let why = why.lines().next().unwrap_or_default();
                                        A::Error::custom(format_args!("{key}: {why}"))
                                    })?;
                                })*
                                _ => return Err(A::Error::unknown_field(&key, &[$(stringify!($field)),*])),
                            }
                        }
                        Ok(settings)
                    }
                }

                deserializer.deserialize_map(Fields)
            }
        }
    };
}

__settings!(InFile, "backoff settings" {
    base_delay: HumanDuration,
    max_delay: HumanDuration,
    cooldown_period: HumanDuration,
    max_retries: u32,
    circuit_breaker_window: HumanDuration,
    jitter: Jitter,
    initial_delay: HumanDuration,
    half_open_after: HumanDuration,
});

/// Fields that are left out have their defaults. What was read is [validated](BackoffConfig::validate).
impl<'de> Deserialize<'de> for BackoffConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let file = InFile::deserialize(deserializer)?;
        let default = Self::default();
        let or =
            |setting: Option<HumanDuration>, default| setting.map_or(default, |HumanDuration(d)| d);
        let config = Self {
            base_delay: or(file.base_delay, default.base_delay),
            max_delay: or(file.max_delay, default.max_delay),
            cooldown_period: or(file.cooldown_period, default.cooldown_period),
            max_retries: file.max_retries.unwrap_or(default.max_retries),
            circuit_breaker_window: or(file.circuit_breaker_window, default.circuit_breaker_window),
            jitter: file.jitter.unwrap_or(default.jitter),
            initial_delay: file.initial_delay.map(|HumanDuration(d)| d),
            half_open_after: file.half_open_after.map(|HumanDuration(d)| d),
        };
        config.validate().map_err(de::Error::custom)?;
        Ok(config)
    }
}

impl Serialize for BackoffConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let optional = [self.initial_delay.is_some(), self.half_open_after.is_some()];
        let fields = 6 + optional.into_iter().filter(|set| *set).count();
        let mut out = serializer.serialize_struct("BackoffConfig", fields)?;
        out.serialize_field("base_delay", &HumanDuration(self.base_delay))?;
        out.serialize_field("max_delay", &HumanDuration(self.max_delay))?;
        out.serialize_field("cooldown_period", &HumanDuration(self.cooldown_period))?;
        out.serialize_field("max_retries", &self.max_retries)?;
        out.serialize_field(
            "circuit_breaker_window",
            &HumanDuration(self.circuit_breaker_window),
        )?;
        out.serialize_field("jitter", &self.jitter)?;
        if let Some(initial) = self.initial_delay {
            out.serialize_field("initial_delay", &HumanDuration(initial))?;
        }
        if let Some(delay) = self.half_open_after {
            out.serialize_field("half_open_after", &HumanDuration(delay))?;
        }
        out.end()
    }
}
