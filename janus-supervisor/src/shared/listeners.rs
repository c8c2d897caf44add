//! The tasks that listen for all services: some for signals, some for the token. Each ends with the runtime that it is
//! on, so that there is one on each that somebody needs it on: whichever goes away, the others still hear.

use super::Shared;
use crate::driver::{relay, signals};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::runtime::{self, Handle};
use tokio::task::JoinHandle;

/// Those who listen for the same.
#[derive(Default)]
pub(super) struct Listeners(Mutex<Vec<Listener>>);

/// One of them.
struct Listener {
    task: JoinHandle<()>,
    on: runtime::Id,
    /// That runtime has what services on it need.
    serves: bool,
    /// Those who spawn on it have had signals listened for, where that can be had.
    spawns: bool,
}

impl Listeners {
    fn lock(&self) -> MutexGuard<'_, Vec<Listener>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is one like that, at work or not.
    #[inline]
    fn any(&self, is_it: impl Fn(&Listener) -> bool) -> bool {
        self.lock().iter().any(is_it)
    }

    /// Sees to it that there is one on this runtime.
    ///
    /// # Errors
    /// As `install`, and where this is inside no runtime.
    fn ensure_here(&self, install: impl FnOnce() -> io::Result<JoinHandle<()>>) -> io::Result<()> {
        let here =
            Handle::try_current().map_err(|_| io::Error::other("not inside a tokio runtime"))?;
        let mut all = self.lock();
        all.retain(|it| !it.task.is_finished());
        if all.iter().all(|it| it.on != here.id()) {
            all.push(Listener {
                task: install()?,
                on: here.id(),
                serves: false,
                spawns: false,
            });
        }
        Ok(())
    }
}

impl Shared {
    /// Whether all is as [`listen`](Self::listen) makes it. (A relay ends with the fleet or its runtime, and neither
    /// gets any more services.)
    #[inline]
    pub(crate) fn hears_on(&self, runtime: runtime::Id, here: runtime::Id) -> bool {
        let is_one = runtime == here;
        let serves =
            |relay: &Listener| relay.on == runtime && relay.serves && !relay.task.is_finished();
        let spawns = |relay: &Listener| relay.on == here && relay.spawns;
        self.relays
            .any(|relay| serves(relay) && (!is_one || relay.spawns))
            && (is_one || self.relays.any(spawns))
    }

    /// Sees to it that somebody waits for the root token on these two, the runtime of a service, which has been
    /// checked, and that of whoever spawns it; and on the latter for signals, if they are wanted and can be had.
    pub(crate) fn listen(self: &Arc<Self>, runtime: &Handle, here: &Handle) {
        for on in [runtime, here] {
            let _inside = on.enter();
            let _cannot_fail = self.relays.ensure_here(|| Ok(relay::install(self)));
        }
        if !self
            .relays
            .any(|relay| relay.on == here.id() && relay.spawns)
        {
            let _inside = here.enter();
            // If they cannot be installed, `run_until_shutdown` says so. It is tried once: tokio panics where they
            // cannot.
            let _told_later = self.ensure_signals();
        }
        for relay in &mut *self.relays.lock() {
            relay.serves |= relay.on == runtime.id();
            relay.spawns |= relay.on == here.id();
        }
    }

    /// Sees to it that signals are heard on this runtime, if they are wanted.
    ///
    /// # Errors
    /// The handlers cannot be installed, and are not on another runtime either.
    pub(crate) fn ensure_signals(self: &Arc<Self>) -> io::Result<()> {
        if !self.install_signal_handler {
            return Ok(());
        }
        let installed = self.signals.ensure_here(|| signals::install(self));
        installed.or_else(|error| {
            if self.signals.any(|it| !it.task.is_finished()) {
                Ok(())
            } else {
                Err(error)
            }
        })
    }
}
