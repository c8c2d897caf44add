//! Configuration files: [`SupervisorConfig`] and [`SpawnOptions`] with durations as people write them.

use crate::{BackoffConfig, RestartPolicy, SpawnOptions, SupervisorConfig};
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
            observers: default.observers,
        })
    }
}

/// Observers are left out.
impl Serialize for SupervisorConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let fields = 4 + usize::from(self.seed.is_some());
        let mut out = serializer.serialize_struct("SupervisorConfig", fields)?;
        out.serialize_field("default_backoff", &self.default_backoff)?;
        out.serialize_field("shutdown_timeout", &HumanDuration(self.shutdown_timeout))?;
        out.serialize_field("abort_timeout", &HumanDuration(self.abort_timeout))?;
        out.serialize_field("install_signal_handler", &self.install_signal_handler)?;
        if let Some(seed) = self.seed {
            out.serialize_field("seed", &seed)?;
        }
        out.end()
    }
}

janus_backoff::__settings!(OptionsInFile, "settings of a service" {
    backoff: BackoffConfig,
    restart_policy: RestartPolicy,
    shutdown_grace: HumanDuration,
});

/// Fields that are left out come from the supervisor or the service.
impl<'de> Deserialize<'de> for SpawnOptions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let file = OptionsInFile::deserialize(deserializer)?;
        Ok(Self {
            backoff: file.backoff.map(Arc::new),
            restart_policy: file.restart_policy,
            shutdown_grace: file.shutdown_grace.map(|HumanDuration(grace)| grace),
        })
    }
}

/// Only what is set.
impl Serialize for SpawnOptions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let set = [
            self.backoff.is_some(),
            self.restart_policy.is_some(),
            self.shutdown_grace.is_some(),
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
        out.end()
    }
}
