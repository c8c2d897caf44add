//! The shutdown in the middle of it all, and what is left after it.

use crate::resident;
use crate::sample::kib;
use crate::sky::Weather;
use crate::storm::Scene;
use crate::verdict::NOISE;
use anyhow::{Context, Result, ensure};
use janus_supervisor::{JanusService, JanusSupervisor, SpawnOptions, service_fn};
use janus_tests::{ms, secs};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

/// Those who do not stop.
const STUBBORN: [&str; 3] = ["stubborn-1", "stubborn-2", "stubborn-3"];

/// The one who cannot even be dropped.
const BLOCKED: &str = "blocked";

/// The drain's own limits are seconds. This is the end of a hang.
const LIMIT: Duration = secs(60);

/// Shuts down while services fail and restart. Those who never stop have to be named, and nobody else.
pub(crate) async fn shut_down(scene: Scene) -> Result<()> {
    let supervisor = scene.supervisor;
    let (let_go, release) = watch::channel(false);
    let (tell, mut told) = mpsc::unbounded_channel();
    for name in STUBBORN {
        // The others have half a second.
        let options = SpawnOptions::with_backoff(resident::backoff()).with_shutdown_grace(secs(2));
        supervisor.spawn_service_with_options(stubborn(name, tell.clone()), options)?;
    }
    let options = SpawnOptions::default().with_shutdown_grace(secs(2));
    supervisor.spawn_service_with_options(blocked(release, tell), options)?;
    for _ in 0..=STUBBORN.len() {
        told.recv().await.context("it has begun")?;
    }

    scene.sky.turn(Weather::Rain);
    sleep(ms(500)).await;
    supervisor.trigger_shutdown();
    let drained = timeout(LIMIT, supervisor.run_until_shutdown()).await;
    let report = drained.context("the shutdown hangs")??;
    println!("{report}");
    ensure!(
        report.drain.aborted == STUBBORN && report.drain.stuck == [BLOCKED],
        "aborted should be {STUBBORN:?}, and stuck {BLOCKED}"
    );
    ensure!(report.exit_code() == 1, "exit code {}", report.exit_code());
    let_go.send_replace(true);
    none_left(&supervisor).await
}

/// Waits until the last task is gone, and compares the counters.
async fn none_left(supervisor: &JanusSupervisor) -> Result<()> {
    let tasks = || Handle::current().metrics().num_alive_tasks();
    let gone = async {
        while tasks() > 0 {
            sleep(ms(10)).await;
        }
    };
    let all_gone = timeout(LIMIT, gone).await;
    all_gone.with_context(|| format!("{} tasks are left", tasks()))?;
    let metrics = supervisor.metrics().snapshot();
    ensure!(
        metrics.active_services == 0 && metrics.spawned_total == metrics.terminated_total,
        "after the drain: {metrics:?}"
    );
    println!(
        "no task left; {} services spawned, {} terminated, {} restarts",
        metrics.spawned_total, metrics.terminated_total, metrics.restarts_total
    );
    Ok(())
}

/// Compares what was allocated before there was any supervisor with what is allocated now that there is none.
pub(crate) fn nothing_left(before: usize, after: usize) -> Result<()> {
    println!(
        "live {:.1} KiB before all, {:.1} KiB after all",
        kib(before),
        kib(after)
    );
    ensure!(after <= before + NOISE, "not everything was freed");
    Ok(())
}

fn stubborn(name: &'static str, tell: mpsc::UnboundedSender<()>) -> impl JanusService {
    service_fn(name, move |_cancel| {
        let tell = tell.clone();
        async move {
            tell.send(())?;
            std::future::pending().await
        }
    })
}

/// Blocks its thread until it is released.
fn blocked(release: watch::Receiver<bool>, tell: mpsc::UnboundedSender<()>) -> impl JanusService {
    let release = Arc::new(release);
    service_fn(BLOCKED, move |_cancel| {
        let (release, tell) = (Arc::clone(&release), tell.clone());
        async move {
            tell.send(())?;
            while !*release.borrow() {
                std::thread::park_timeout(ms(10));
            }
            Ok(())
        }
    })
}
