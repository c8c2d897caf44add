//! Those who look on: readers of snapshots, a scraper of metrics, subscribers.

use crate::sky::{Sky, Weather};
use crate::tally::Tally;
use anyhow::{Result, ensure};
use futures_util::StreamExt;
use janus_metrics_otel::PrometheusExporter;
use janus_supervisor::{JanusSupervisor, Subscription};
use janus_tests::ms;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// Lists all services, again and again.
pub(crate) async fn read_snapshots(supervisor: JanusSupervisor, sky: Sky) -> Result<()> {
    while sky.weather() != Weather::Calm {
        let snapshot = supervisor.snapshot();
        let names = snapshot.services.iter().map(|one| &one.service_name);
        let names: HashSet<&String> = names.collect();
        ensure!(
            names.len() == snapshot.services.len(),
            "a snapshot has two services of one name"
        );
        let _is_ready = supervisor.is_ready();
        sleep(ms(1)).await;
    }
    Ok(())
}

/// Renders the metrics now and then.
pub(crate) async fn scrape(exporter: Arc<PrometheusExporter>, sky: Sky) -> Result<()> {
    while sky.weather() != Weather::Calm {
        ensure!(!exporter.render()?.is_empty(), "no metrics");
        sleep(ms(200)).await;
    }
    Ok(())
}

/// Subscribes, and takes so long over each event.
pub(crate) async fn subscribe(
    supervisor: JanusSupervisor,
    sky: Sky,
    each: Duration,
    tally: Arc<Tally>,
) {
    let mut events = supervisor.subscribe();
    drop(supervisor);
    while sky.weather() != Weather::Calm {
        // Not for ever: in the calm no event comes.
        if timeout(ms(50), events.next()).await.is_ok() && !each.is_zero() {
            sleep(each).await;
        }
    }
    tally.missed(Subscription::missed(&events));
}
