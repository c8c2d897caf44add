//! Whoever cancels the supervisor's token begins the shutdown. A token calls nobody, so somebody has to wait for it.

use super::drain::drain;
use crate::report::ShutdownCause;
use crate::shared::Shared;
use std::sync::Arc;
use tokio::task::JoinHandle;

/// Begins to wait. It ends with the fleet.
pub(crate) fn install(shared: &Arc<Shared>) -> JoinHandle<()> {
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        shared.root.cancelled().await;
        shared.begin_shutdown(ShutdownCause::Requested);
        // Both bounds hold also when nobody waits for the drain.
        drain(&shared).await;
    })
}
