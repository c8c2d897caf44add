//! SIGTERM and SIGINT (elsewhere: Ctrl-C): the first begins the shutdown, the second ends the grace.

use super::drain::drained;
use super::{caught, logged};
use crate::report::ShutdownCause;
use crate::shared::Shared;
use std::io;
use std::sync::Arc;
use tokio::task::JoinHandle;

/// Installs the handlers and starts to listen. From here on no signal is lost.
///
/// # Errors
/// What the system says, or that the runtime has no I/O driver.
pub(crate) fn install(shared: &Arc<Shared>) -> io::Result<JoinHandle<()>> {
    // tokio panics where the runtime was built without its I/O driver.
    let signals =
        caught(Signals::new).map_err(|panic| io::Error::other(panic.message().to_owned()))??;
    Ok(tokio::spawn(listen(signals, Arc::clone(shared))))
}

async fn listen(mut signals: Signals, shared: Arc<Shared>) {
    // The first signal ends no grace, also if the shutdown had begun without one: whoever sent it did not know.
    let mut first = true;
    loop {
        let cause = tokio::select! {
            cause = signals.next() => cause,
            () = drained(&shared) => return,
        };
        if first {
            shared.begin_shutdown(cause);
        } else {
            if !shared.abort.is_cancelled() {
                logged(
                    || tracing::warn!(signal = %cause, "second signal: ending the grace of what is still running"),
                );
            }
            shared.abort_all();
        }
        first = false;
    }
}

#[cfg(unix)]
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> ShutdownCause {
        tokio::select! {
            Some(()) = self.terminate.recv() => ShutdownCause::Terminate,
            Some(()) = self.interrupt.recv() => ShutdownCause::Interrupt,
            // Both streams have ended: the runtime's signal driver is gone, and no signal will come.
            else => std::future::pending().await,
        }
    }
}

#[cfg(windows)]
struct Signals(tokio::signal::windows::CtrlC);

#[cfg(windows)]
impl Signals {
    fn new() -> io::Result<Self> {
        tokio::signal::windows::ctrl_c().map(Self)
    }

    async fn next(&mut self) -> ShutdownCause {
        match self.0.recv().await {
            Some(()) => ShutdownCause::Interrupt,
            None => std::future::pending().await,
        }
    }
}
