//! Configuration files: [`SupervisorConfig`] and [`SpawnOptions`] with durations as people write them.

use crate::machine::{Checks, Readiness};
use crate::{
    AutoShutdown, BackoffConfig, Intensity, RestartPolicy, SpawnOptions, SupervisorConfig,
};
use janus_backoff::HumanDuration;
use serde::ser::SerializeStruct;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::sync::Arc;

janus_backoff::__settings!(SupervisorInFile, "supervisor settings" {
    default_backoff: BackoffConfig,
    shutdown_timeout: HumanDuration,
    abort_timeout: HumanDuration,
    install_signal_handler: bool,
    seed: u64,
    intensity: Intensity,
    auto_shutdown: AutoShutdown,
    max_concurrent_starts: usize,
    restart_spread: HumanDuration,
    event_buffer: usize,
});

/// Fields that are left out have their defaults; observers are not part of a file.
impl<'de> Deserialize<'de> for SupervisorConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let file = SupervisorInFile::deserialize(deserializer)?;
        let default = Self::default();
        let or =
            |setting: Option<HumanDuration>, default| setting.map_or(default, |HumanDuration(d)| d);
        Ok(Self {
            default_backoff: file.default_backoff.unwrap_or(default.default_backoff),
            shutdown_timeout: or(file.shutdown_timeout, default.shutdown_timeout),
            abort_timeout: or(file.abort_timeout, default.abort_timeout),
            install_signal_handler: file
                .install_signal_handler
                .unwrap_or(default.install_signal_handler),
            seed: file.seed,
            intensity: file.intensity,
            auto_shutdown: file.auto_shutdown.unwrap_or_default(),
            max_concurrent_starts: file.max_concurrent_starts,
            restart_spread: or(file.restart_spread, default.restart_spread),
            event_buffer: file.event_buffer.unwrap_or(default.event_buffer),
            observers: default.observers,
        })
    }
}

/// Observers are left out.
impl Serialize for SupervisorConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let optional = [
            self.seed.is_some(),
            self.intensity.is_some(),
            self.auto_shutdown != AutoShutdown::Never,
            self.max_concurrent_starts.is_some(),
            !self.restart_spread.is_zero(),
            self.event_buffer != Self::default().event_buffer,
        ];
        let fields = 4 + optional.into_iter().filter(|set| *set).count();
        let mut out = serializer.serialize_struct("SupervisorConfig", fields)?;
        out.serialize_field("default_backoff", &self.default_backoff)?;
        out.serialize_field("shutdown_timeout", &HumanDuration(self.shutdown_timeout))?;
        out.serialize_field("abort_timeout", &HumanDuration(self.abort_timeout))?;
        out.serialize_field("install_signal_handler", &self.install_signal_handler)?;
        if let Some(seed) = self.seed {
            out.serialize_field("seed", &seed)?;
        }
        if let Some(intensity) = &self.intensity {
            out.serialize_field("intensity", intensity)?;
        }
        if self.auto_shutdown != AutoShutdown::Never {
            out.serialize_field("auto_shutdown", &self.auto_shutdown)?;
        }
        if let Some(starts) = &self.max_concurrent_starts {
            out.serialize_field("max_concurrent_starts", starts)?;
        }
        if !self.restart_spread.is_zero() {
            out.serialize_field("restart_spread", &HumanDuration(self.restart_spread))?;
        }
        if self.event_buffer != Self::default().event_buffer {
            out.serialize_field("event_buffer", &self.event_buffer)?;
        }
        out.end()
    }
}

janus_backoff::__settings!(OptionsInFile, "settings of a service" {
    backoff: BackoffConfig,
    restart_policy: RestartPolicy,
    shutdown_grace: HumanDuration,
    significant: bool,
    after: Vec<String>,
    readiness: Readiness,
    start_timeout: HumanDuration,
    watchdog: HumanDuration,
    ephemeral: bool,
});

/// Fields that are left out come from the supervisor or the service; a backoff that is there comes as a whole, with the
/// defaults of [`BackoffConfig`] for what it leaves out.
impl<'de> Deserialize<'de> for SpawnOptions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let file = OptionsInFile::deserialize(deserializer)?;
        Ok(Self {
            backoff: file.backoff.map(Arc::new),
            restart_policy: file.restart_policy,
            shutdown_grace: file.shutdown_grace.map(|HumanDuration(grace)| grace),
            significant: file.significant.unwrap_or_default(),
            after: file.after.into_iter().flatten().map(Into::into).collect(),
            checks: Checks {
                readiness: file.readiness.unwrap_or_default(),
                start_timeout: file.start_timeout.map(|HumanDuration(d)| d),
                watchdog: file.watchdog.map(|HumanDuration(d)| d),
            },
            ephemeral: file.ephemeral.unwrap_or_default(),
            runtime: None,
        })
    }
}

/// Only what is set; a runtime is no part of a file.
impl Serialize for SpawnOptions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let set = [
            self.backoff.is_some(),
            self.restart_policy.is_some(),
            self.shutdown_grace.is_some(),
            self.significant,
            !self.after.is_empty(),
            self.checks.readiness != Readiness::Immediate,
            self.checks.start_timeout.is_some(),
            self.checks.watchdog.is_some(),
            self.ephemeral,
        ];
        let fields = set.into_iter().filter(|set| *set).count();
        let mut out = serializer.serialize_struct("SpawnOptions", fields)?;
        if let Some(backoff) = &self.backoff {
            out.serialize_field("backoff", &**backoff)?;
        }
        if let Some(policy) = &self.restart_policy {
            out.serialize_field("restart_policy", policy)?;
        }
        if let Some(grace) = self.shutdown_grace {
            out.serialize_field("shutdown_grace", &HumanDuration(grace))?;
        }
        if self.significant {
            out.serialize_field("significant", &true)?;
        }
        if !self.after.is_empty() {
            let names: Vec<&str> = self.after.iter().map(|name| &**name).collect();
            out.serialize_field("after", &names)?;
        }
        let checks = &self.checks;
        if checks.readiness != Readiness::Immediate {
            out.serialize_field("readiness", &checks.readiness)?;
        }
        if let Some(timeout) = checks.start_timeout {
            out.serialize_field("start_timeout", &HumanDuration(timeout))?;
        }
        if let Some(period) = checks.watchdog {
            out.serialize_field("watchdog", &HumanDuration(period))?;
        }
        if self.ephemeral {
            out.serialize_field("ephemeral", &true)?;
        }
        out.end()
    }
}

janus_backoff::__settings!(IntensityInFile, "an intensity" {
    max_restarts: u32,
    within: HumanDuration,
});

/// Fields that are left out have their defaults.
impl<'de> Deserialize<'de> for Intensity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let file = IntensityInFile::deserialize(deserializer)?;
        let default = Self::default();
        Ok(Self {
            max_restarts: file.max_restarts.unwrap_or(default.max_restarts),
            within: file.within.map_or(default.within, |HumanDuration(d)| d),
        })
    }
}

impl Serialize for Intensity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("Intensity", 2)?;
        out.serialize_field("max_restarts", &self.max_restarts)?;
        out.serialize_field("within", &HumanDuration(self.within))?;
        out.end()
    }
}
