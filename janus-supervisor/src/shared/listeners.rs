//! The tasks that listen for all services: one for signals, one for the token. Each ends with the runtime that it is on, and is needed for as long
//! as there is another.

use super::Shared;
use crate::driver::{relay, signals};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::runtime::{self, Handle};
use tokio::task::JoinHandle;

/// One of them.
pub(super) struct Listener {
    task: JoinHandle<()>,
    on: runtime::Id,
    /// That runtime has all else that services need.
    is_enough: bool,
}

fn lock(listener: &Mutex<Option<Listener>>) -> MutexGuard<'_, Option<Listener>> {
    listener.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sees to it that there is one. Answers whether it is on this runtime.
///
/// # Errors
/// As `install`, and where one has to be installed and this is inside no runtime.
fn ensure(
    listener: &Mutex<Option<Listener>>,
    install: impl FnOnce() -> io::Result<JoinHandle<()>>,
) -> io::Result<bool> {
    let here = Handle::try_current().ok().map(|runtime| runtime.id());
    let mut listener = lock(listener);
    let known = listener.as_ref().filter(|it| !it.task.is_finished());
    let on = match known {
        Some(known) => known.on,
        None => {
            let on = here.ok_or_else(|| io::Error::other("not inside a tokio runtime"))?;
            *listener = Some(Listener {
                task: install()?,
                on,
                is_enough: false,
            });
            on
        }
    };
    Ok(here == Some(on))
}

impl Shared {
    /// Whether this runtime is known to have all that services need, those who listen for all among it.
    #[inline]
    pub(crate) fn is_ready_on(&self, runtime: runtime::Id) -> bool {
        let relay = lock(&self.relay);
        let here = relay.as_ref().filter(|relay| relay.on == runtime);
        here.is_some_and(|relay| relay.is_enough && !relay.task.is_finished())
    }

    /// Notes that this runtime has all else, too, if it is on it that somebody waits for the root token.
    pub(crate) fn set_ready_on(&self, runtime: runtime::Id) {
        let mut relay = lock(&self.relay);
        if let Some(relay) = relay.as_mut().filter(|relay| relay.on == runtime) {
            relay.is_enough = true;
        }
    }

    /// Sees to it that somebody waits for the root token. Answers whether that is on this runtime.
    pub(crate) fn ensure_relay(self: &Arc<Self>) -> bool {
        let relay = ensure(&self.relay, || Ok(relay::install(self)));
        relay.unwrap_or(false)
    }

    /// Installs the signal handlers, if they are wanted and are not there yet. Answers whether all there is of that is on this runtime.
    ///
    /// # Errors
    /// They cannot be installed.
    pub(crate) fn ensure_signals(self: &Arc<Self>) -> io::Result<bool> {
        if !self.install_signal_handler {
            return Ok(true);
        }
        ensure(&self.listener, || signals::install(self))
    }
}
