//! One look at a quiet fleet.

use crate::{LIVE, quiet};
use anyhow::{Result, ensure};
use janus_metrics_otel::PrometheusExporter;
use janus_supervisor::JanusSupervisor;
use janus_tests::ms;
use std::fmt;
use std::fs;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::sleep;

/// What is there when nothing is going on.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Sample {
    /// Since the storm began.
    pub(crate) at: Duration,
    /// Restarts so far.
    pub(crate) restarts: u64,
    /// Services spawned so far.
    pub(crate) spawned: u64,
    /// Services that are registered; none of them has terminated.
    pub(crate) registered: usize,
    /// Tasks of the runtime.
    pub(crate) tasks: usize,
    /// Lines of metrics.
    pub(crate) series: usize,
    /// Bytes that are allocated and not freed.
    pub(crate) live: usize,
    /// Bytes that the system has given. Only Linux says so. Freed memory stays in it for reuse, so it is shown and not
    /// judged.
    pub(crate) resident: Option<usize>,
}

/// The head of the table.
pub(crate) const HEAD: &str =
    "      at    restarts   spawned  registered  tasks  metrics    live KiB  resident KiB";

impl Sample {
    /// Waits until all is quiet, and looks.
    pub(crate) async fn take(
        supervisor: &JanusSupervisor,
        exporter: &PrometheusExporter,
        at: Duration,
    ) -> Result<Self> {
        quiet::wait(supervisor).await?;
        let metrics = supervisor.metrics().snapshot();
        ensure!(
            metrics.spawned_total == metrics.active_services + metrics.terminated_total,
            "{} spawned is not {} active + {} terminated",
            metrics.spawned_total,
            metrics.active_services,
            metrics.terminated_total
        );
        let registered = supervisor.service_count().await;
        ensure!(
            u64::try_from(registered)? == metrics.active_services,
            "{registered} registered, {} active",
            metrics.active_services
        );
        let series = exporter.render()?.lines().count();
        Ok(Self {
            at,
            restarts: metrics.restarts_total,
            spawned: metrics.spawned_total,
            registered,
            tasks: Handle::current().metrics().num_alive_tasks(),
            series,
            live: live().await,
            resident: resident(),
        })
    }
}

/// Bytes that are allocated: the least of a few looks, because what somebody needs for a moment is no leak.
pub(crate) async fn live() -> usize {
    let mut least = LIVE.allocated();
    for _ in 0..10 {
        sleep(ms(10)).await;
        least = least.min(LIVE.allocated());
    }
    least
}

/// `VmRSS` of this process.
fn resident() -> Option<usize> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: usize = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

/// A line of the table.
impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:>7.1}s {:>11} {:>9} {:>11} {:>6} {:>8} {:>11.1}",
            self.at.as_secs_f64(),
            self.restarts,
            self.spawned,
            self.registered,
            self.tasks,
            self.series,
            kib(self.live),
        )?;
        match self.resident {
            Some(bytes) => write!(f, " {:>13.0}", kib(bytes)),
            None => write!(f, " {:>13}", "?"),
        }
    }
}

/// For people.
#[expect(
    clippy::cast_precision_loss,
    reason = "shown with one digit after the point"
)]
pub(crate) fn kib(bytes: usize) -> f64 {
    bytes as f64 / 1024.0
}
