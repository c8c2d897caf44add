//! The storm: rounds of trouble, a quiet time after each.

use crate::passer_by::Stream;
use crate::sample::{HEAD, Sample};
use crate::sky::{Sky, Weather};
use crate::tally::Tally;
use crate::{guests, quiet, watchers};
use anyhow::{Context, Result};
use janus_metrics_otel::PrometheusExporter;
use janus_supervisor::JanusSupervisor;
use janus_tests::{Dice, ms, secs};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

/// So many rounds, if each can have a second.
const ROUNDS: u32 = 30;

/// Who has their hands on the services at one time.
const HANDS: usize = 4;

/// What the storm comes over.
pub(crate) struct Scene {
    pub(crate) supervisor: JanusSupervisor,
    pub(crate) exporter: Arc<PrometheusExporter>,
    pub(crate) tally: Arc<Tally>,
    pub(crate) sky: Sky,
    pub(crate) stream: Stream,
    pub(crate) residents: usize,
    pub(crate) dice: Dice,
}

impl Scene {
    /// Storms for `time`. Answers a sample of before it, and one of each quiet time.
    pub(crate) async fn storm(mut self, time: Duration) -> Result<(Self, Vec<Sample>)> {
        let round = (time / ROUNDS).max(secs(1));
        println!("{HEAD}");
        let mut samples = vec![self.sample(Duration::ZERO).await?];
        let begun = Instant::now();
        while begun.elapsed() < time {
            self.round(round).await?;
            samples.push(self.sample(begun.elapsed()).await?);
        }
        Ok((self, samples))
    }

    async fn sample(&self, at: Duration) -> Result<Sample> {
        let sample = Sample::take(&self.supervisor, &self.exporter, at).await?;
        println!("{sample}");
        Ok(sample)
    }

    /// A time of trouble, after which only the residents are left.
    async fn round(&mut self, time: Duration) -> Result<()> {
        self.sky.turn(Weather::Storm);
        let mut busy = self.crowd();
        tokio::select! {
            // Ends early only by an error.
            sent = self.stream.flow(&self.sky) => sent?,
            () = sleep(time) => {}
        }
        self.sky.turn(Weather::Calm);
        let joined = timeout(quiet::LIMIT, async {
            while let Some(ended) = busy.join_next().await {
                ended??;
            }
            anyhow::Ok(())
        });
        joined
            .await
            .context("somebody hangs who was busy in the storm")??;
        let gone = timeout(quiet::LIMIT, guests::see_off(&self.supervisor)).await;
        gone.with_context(|| format!("guests do not go: {:?}", guests::left(&self.supervisor)))
    }

    /// Everybody who does something to the services, or looks at them, until it is calm.
    fn crowd(&mut self) -> JoinSet<Result<()>> {
        let mut crowd = JoinSet::new();
        for _ in 0..HANDS {
            let hand = guests::be_busy(
                self.supervisor.clone(),
                self.sky.clone(),
                self.residents,
                self.dice.split(),
            );
            crowd.spawn(async move {
                hand.await;
                Ok(())
            });
        }
        for each in [Duration::ZERO, ms(5)] {
            let subscriber = watchers::subscribe(
                self.supervisor.clone(),
                self.sky.clone(),
                each,
                Arc::clone(&self.tally),
            );
            crowd.spawn(async move {
                subscriber.await;
                Ok(())
            });
        }
        let (supervisor, sky) = (self.supervisor.clone(), self.sky.clone());
        crowd.spawn(watchers::read_snapshots(supervisor, sky));
        let (exporter, sky) = (Arc::clone(&self.exporter), self.sky.clone());
        crowd.spawn(watchers::scrape(exporter, sky));
        crowd
    }
}
