//! Waiting until nothing is going on.

use anyhow::{Result, bail};
use janus_supervisor::{JanusSupervisor, ServicePhase};
use janus_tests::{ms, secs};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// All runs end within half a second of the storm's end, and backoffs are shorter still. So this is for a busy machine.
pub(crate) const LIMIT: Duration = secs(30);

/// How many of those that are in the way are named.
const NAMED: usize = 5;

/// Waits until every service that is registered is running.
pub(crate) async fn wait(supervisor: &JanusSupervisor) -> Result<()> {
    let deadline = Instant::now() + LIMIT;
    loop {
        let snapshot = supervisor.snapshot();
        let busy = snapshot
            .services
            .iter()
            .filter(|one| one.phase != ServicePhase::Running);
        let busy: Vec<String> = busy.take(NAMED).map(|one| format!("{one:?}")).collect();
        if busy.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!(
                "{LIMIT:?} after the storm these do not run:\n{}",
                busy.join("\n")
            );
        }
        sleep(ms(20)).await;
    }
}

/// Waits until no service is registered.
pub(crate) async fn wait_until_empty(supervisor: &JanusSupervisor) -> Result<()> {
    let deadline = Instant::now() + LIMIT;
    while supervisor.service_count().await > 0 {
        if Instant::now() > deadline {
            let left = supervisor.service_count().await;
            bail!("{LIMIT:?} after the last was spawned, {left} are still registered");
        }
        sleep(ms(20)).await;
    }
    Ok(())
}
