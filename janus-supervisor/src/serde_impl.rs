//! Configuration files: [`SupervisorConfig`] and [`SpawnOptions`] with durations as people write them.

use crate::{BackoffConfig, RestartPolicy, SpawnOptions, SupervisorConfig};
use janus_backoff::HumanDuration;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::sync::Arc;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SupervisorConfigInFile {
    default_backoff: Option<BackoffConfig>,
    shutdown_timeout: Option<HumanDuration>,
    abort_timeout: Option<HumanDuration>,
    install_signal_handler: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
}

/// Fields that are left out have their defaults; observers are not part of a file.
impl<'de> Deserialize<'de> for SupervisorConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let file = SupervisorConfigInFile::deserialize(deserializer)?;
        let mut config = Self {
            seed: file.seed,
            ..Self::default()
        };
        if let Some(backoff) = file.default_backoff {
            config.default_backoff = backoff;
        }
        if let Some(timeout) = file.shutdown_timeout {
            config.shutdown_timeout = timeout.resolve("shutdown_timeout")?;
        }
        if let Some(timeout) = file.abort_timeout {
            config.abort_timeout = timeout.resolve("abort_timeout")?;
        }
        if let Some(install) = file.install_signal_handler {
            config.install_signal_handler = install;
        }
        Ok(config)
    }
}

/// Observers are left out.
impl Serialize for SupervisorConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        SupervisorConfigInFile {
            default_backoff: Some(self.default_backoff.clone()),
            shutdown_timeout: Some(self.shutdown_timeout.into()),
            abort_timeout: Some(self.abort_timeout.into()),
            install_signal_handler: Some(self.install_signal_handler),
            seed: self.seed,
        }
        .serialize(serializer)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SpawnOptionsInFile {
    #[serde(skip_serializing_if = "Option::is_none")]
    backoff: Option<BackoffConfig>,
    #[serde(skip_serializing_if = "Option::is_none")]
    restart_policy: Option<RestartPolicy>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shutdown_grace: Option<HumanDuration>,
}

impl From<SpawnOptions> for SpawnOptionsInFile {
    fn from(options: SpawnOptions) -> Self {
        Self {
            backoff: options.backoff.map(Arc::unwrap_or_clone),
            restart_policy: options.restart_policy,
            shutdown_grace: options.shutdown_grace.map(HumanDuration::from),
        }
    }
}

impl<'de> Deserialize<'de> for SpawnOptions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let file = SpawnOptionsInFile::deserialize(deserializer)?;
        Ok(Self {
            backoff: file.backoff.map(Arc::new),
            restart_policy: file.restart_policy,
            shutdown_grace: file
                .shutdown_grace
                .map(|grace| grace.resolve("shutdown_grace"))
                .transpose()?,
        })
    }
}
