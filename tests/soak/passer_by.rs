//! Ephemeral services: they come, end within milliseconds, and are forgotten.

use crate::fate::panic_quietly;
use crate::sky::{Sky, Weather};
use janus_supervisor::{
    BackoffConfig, CancellationToken, JanusService, JanusSupervisor, ServiceError, SpawnError,
    SpawnOptions,
};
use janus_tests::ms;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::sleep;

/// So many are there at one time, and no more.
const AT_ONE_TIME: usize = 1_000;

/// Ends by itself after at most one failure.
struct PasserBy {
    name: String,
    number: u64,
    runs: AtomicU32,
    _room: OwnedSemaphorePermit,
}

impl JanusService for PasserBy {
    fn name(&self) -> &str {
        &self.name
    }

    async fn run(&self, _cancel: CancellationToken) -> Result<(), ServiceError> {
        let first = self.runs.fetch_add(1, Ordering::Relaxed) == 0;
        match self.number % 16 {
            0..=3 if first => Err(format!("failure of number {}", self.number).into()),
            4 if first => panic_quietly(),
            5 => Err(ServiceError::permanent("no use")),
            6 => {
                sleep(ms(1)).await;
                Ok(())
            }
            7 => {
                tokio::task::yield_now().await;
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// Spawns ephemeral services of ever new names, as many at one time as there is room for.
pub(crate) struct Stream {
    supervisor: JanusSupervisor,
    room: Arc<Semaphore>,
    options: SpawnOptions,
    next: u64,
}

impl Stream {
    pub(crate) fn new(supervisor: &JanusSupervisor) -> Self {
        let mut backoff = BackoffConfig::new(Duration::ZERO, Duration::ZERO);
        backoff.max_retries = 0;
        Self {
            supervisor: supervisor.clone(),
            room: Arc::new(Semaphore::new(AT_ONE_TIME)),
            options: SpawnOptions::with_backoff(backoff).ephemeral(),
            next: 0,
        }
    }

    /// Spawns `n`, each when there is room.
    pub(crate) async fn send(&mut self, n: u64) -> Result<(), SpawnError> {
        for _ in 0..n {
            // Fails only when the semaphore is closed, which nobody does.
            let Ok(room) = Arc::clone(&self.room).acquire_owned().await else {
                return Ok(());
            };
            let number = self.next;
            self.next += 1;
            let service = PasserBy {
                name: format!("passer-by-{number}"),
                number,
                runs: AtomicU32::new(0),
                _room: room,
            };
            let options = self.options.clone();
            self.supervisor
                .spawn_service_with_options(service, options)?;
        }
        Ok(())
    }

    /// Spawns them all the time, until it is calm.
    pub(crate) async fn flow(&mut self, sky: &Sky) -> Result<(), SpawnError> {
        while sky.weather() != Weather::Calm {
            self.send(10).await?;
            sleep(ms(2)).await;
        }
        Ok(())
    }
}
