//! Thousands of services under a random storm, in real time and on several threads: it ends flat, or it fails.
//!
//! First, a million ephemeral services go through one supervisor. Then residents, groups, guests and ephemeral services
//! fail, panic, hang, ignore cancellation, are stopped, restarted and removed, while others read snapshots, metrics and
//! events. After each round of that all is quiet for a moment, and a sample is taken: what is allocated, how many tasks
//! and services there are. Last, a shutdown in the middle of it.

#![expect(clippy::print_stdout, reason = "it talks to the person who runs it")]

mod args;
mod ending;
mod fate;
mod guests;
mod million;
mod passer_by;
mod quiet;
mod resident;
mod sample;
mod sky;
mod storm;
mod tally;
mod verdict;
mod watchers;

use crate::args::Args;
use crate::passer_by::Stream;
use crate::sky::Sky;
use crate::storm::Scene;
use crate::tally::Tally;
use anyhow::Result;
use cap::Cap;
use janus_metrics_otel::PrometheusExporter;
use janus_supervisor::{JanusSupervisor, SupervisorConfig};
use janus_tests::{Dice, secs};
use std::alloc::System;
use std::sync::Arc;

/// Counts what is allocated.
#[global_allocator]
static LIVE: Cap<System> = Cap::new(System, usize::MAX);

/// More than this machine may have: threads that take turns on a core interleave in more ways.
const THREADS: usize = 4;

/// Room for the metrics of everybody who may be there at one time, so that each has series of their own.
const MOST_SERVICES: usize = 100_000;

fn main() -> Result<()> {
    let args = Args::read(std::env::args().skip(1))?;
    println!("{args:?}");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .enable_all()
        .build()?;
    let result = runtime.block_on(soak(&args));
    // Without waiting: what has made it fail may never end.
    runtime.shutdown_background();
    result?;
    println!("ok");
    Ok(())
}

async fn soak(args: &Args) -> Result<()> {
    let before = sample::live().await;
    million::pass_through(args.ephemeral).await?;

    let tally = Arc::new(Tally::default());
    let scene = scene(args, &tally)?;
    let (scene, samples) = scene.storm(args.storm).await?;
    println!("{tally}");
    println!("{}", verdict::judge(&samples)?);
    tally.check()?;

    ending::shut_down(scene).await?;
    drop(tally);
    ending::nothing_left(before, sample::live().await)
}

/// The services that stay, and all that the storm needs.
fn scene(args: &Args, tally: &Arc<Tally>) -> Result<Scene> {
    let mut dice = Dice::new(args.seed);
    let (exporter, config) = metered()?;
    let observed = config.with_observer(Arc::clone(tally) as Arc<_>);
    let supervisor = JanusSupervisor::new(observed.with_seed(dice.any()));
    let sky = Sky::new();
    resident::settle(&supervisor, &sky, args.services, &mut dice)?;
    Ok(Scene {
        stream: Stream::new(&supervisor),
        residents: args.services,
        tally: Arc::clone(tally),
        supervisor,
        exporter,
        sky,
        dice,
    })
}

/// A supervisor's settings, and the exporter that they tell of everything.
fn metered() -> Result<(Arc<PrometheusExporter>, SupervisorConfig)> {
    let builder = PrometheusExporter::builder().with_max_services(MOST_SERVICES);
    let exporter = Arc::new(builder.build()?);
    let config = SupervisorConfig::default()
        .without_signal_handler()
        .with_shutdown_timeout(secs(5))
        .with_observer(exporter.observer());
    Ok((exporter, config))
}
