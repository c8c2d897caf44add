//! Whoever cancels the supervisor's token begins the shutdown. A token calls nobody, so somebody has to wait for it.

use super::drain::drain;
use super::sysmon;
use crate::report::ShutdownCause;
use crate::shared::Shared;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

/// Begins to wait, and to look after the runtime that this is called in. It ends with the fleet.
pub(crate) fn install(shared: &Arc<Shared>) -> JoinHandle<()> {
    let shared = Arc::clone(shared);
    let sysmon = sysmon::install(Handle::current(), Arc::clone(&shared.late));
    tokio::spawn(async move {
        let _until_all_is_over = sysmon;
        shared.root.cancelled().await;
        shared.begin_shutdown(ShutdownCause::Requested);
        // Both bounds hold also when nobody waits for the drain.
        drain(&shared).await;
        shared.empty().await;
    })
}
