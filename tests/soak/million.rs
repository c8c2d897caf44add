//! A million services through one supervisor, each of which is forgotten when it has ended.

use crate::passer_by::Stream;
use crate::sample::{kib, live};
use crate::verdict::NOISE;
use crate::{metered, quiet};
use anyhow::{Result, ensure};
use janus_supervisor::JanusSupervisor;
use tokio::time::Instant;

/// So many go first, after which tables and pools have their size.
const WARM_UP: u64 = 20_000;

/// Sends `n` services through a supervisor, and compares what is left of them with what was there before them.
pub(crate) async fn pass_through(n: u64) -> Result<()> {
    let (exporter, config) = metered()?;
    let supervisor = JanusSupervisor::new(config);
    let mut stream = Stream::new(&supervisor);
    stream.send(WARM_UP).await?;
    all_gone(&supervisor, WARM_UP).await?;
    let lines = exporter.render()?.lines().count();
    let before = live().await;

    let begun = Instant::now();
    stream.send(n).await?;
    all_gone(&supervisor, WARM_UP + n).await?;
    let took = begun.elapsed();
    let lines_after = exporter.render()?.lines().count();
    let after = live().await;
    println!(
        "{n} ephemeral services in {took:.1?}: live {:.1} KiB before, {:.1} KiB after; {lines} lines of metrics, then {lines_after}",
        kib(before),
        kib(after)
    );
    ensure!(
        lines_after <= lines,
        "ephemeral services leave metrics behind"
    );
    ensure!(
        after <= before + NOISE,
        "ephemeral services leave memory behind"
    );

    supervisor.trigger_shutdown();
    let report = supervisor.run_until_shutdown().await?;
    println!("{report}");
    ensure!(
        report.exit_code() == 0 && report.drain.drained == 0,
        "nobody was left, so nothing had to be drained"
    );
    Ok(())
}

/// Waits until `n` services have come and gone.
async fn all_gone(supervisor: &JanusSupervisor, n: u64) -> Result<()> {
    quiet::wait_until_empty(supervisor).await?;
    let metrics = supervisor.metrics().snapshot();
    ensure!(
        (
            metrics.spawned_total,
            metrics.terminated_total,
            metrics.active_services
        ) == (n, n, 0),
        "{n} were spawned and have ended, the counters say {metrics:?}"
    );
    Ok(())
}
