//! Names -> cells.
//!
//! The one lock that all services share. Spawning, removing and listing take it; a service that runs, fails and restarts
//! never does.

use crate::ServicePhase;
use crate::cell::ServiceCell;
use std::borrow::Borrow;
use std::collections::HashSet;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[derive(Debug, Default)]
pub(crate) struct Registry(Mutex<HashSet<ByName>>);

impl Registry {
    /// Registers a service, and answers the terminated one of the same name that it takes the place of.
    ///
    /// # Errors
    /// The phase of a service of the same name that has not terminated.
    pub(crate) fn insert(
        &self,
        cell: Arc<ServiceCell>,
    ) -> Result<Option<Arc<ServiceCell>>, ServicePhase> {
        let mut cells = self.lock();
        if let Some(ByName(old)) = cells.get(&*cell.name) {
            check_terminated(old)?;
        }
        Ok(cells.replace(ByName(cell)).map(|ByName(old)| old))
    }

    pub(crate) fn get(&self, name: &str) -> Option<Arc<ServiceCell>> {
        self.lock().get(name).map(|ByName(cell)| Arc::clone(cell))
    }

    /// Takes out a terminated service.
    ///
    /// # Errors
    /// `None` if there is no such service, the phase if it has not terminated.
    pub(crate) fn remove(&self, name: &str) -> Result<Arc<ServiceCell>, Option<ServicePhase>> {
        let mut cells = self.lock();
        let ByName(cell) = cells.get(name).ok_or(None)?;
        check_terminated(cell)?;
        cells.take(name).map(|ByName(cell)| cell).ok_or(None)
    }

    /// Takes out all terminated services, in the order of spawning.
    pub(crate) fn remove_terminated(&self) -> Vec<Arc<ServiceCell>> {
        let mut removed = Vec::new();
        self.lock().retain(|ByName(cell)| {
            let keep = check_terminated(cell).is_err();
            if !keep {
                removed.push(Arc::clone(cell));
            }
            keep
        });
        in_order(removed)
    }

    /// All services, in the order of spawning.
    pub(crate) fn list(&self) -> Vec<Arc<ServiceCell>> {
        let cells = self
            .lock()
            .iter()
            .map(|ByName(cell)| Arc::clone(cell))
            .collect();
        in_order(cells)
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<ByName>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// # Errors
/// The phase, unless it has terminated.
fn check_terminated(cell: &ServiceCell) -> Result<(), ServicePhase> {
    match cell.read(|lifecycle| lifecycle.phase()) {
        ServicePhase::Terminated => Ok(()),
        phase => Err(phase),
    }
}

fn in_order(mut cells: Vec<Arc<ServiceCell>>) -> Vec<Arc<ServiceCell>> {
    cells.sort_unstable_by_key(|cell| cell.id);
    cells
}

/// A cell, found by its name.
#[derive(Debug)]
struct ByName(Arc<ServiceCell>);

impl Borrow<str> for ByName {
    fn borrow(&self) -> &str {
        &self.0.name
    }
}

impl PartialEq for ByName {
    fn eq(&self, other: &Self) -> bool {
        self.0.name == other.0.name
    }
}

impl Eq for ByName {}

impl Hash for ByName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // As `str` does, so that a look-up by `&str` finds it.
        self.0.name.hash(state);
    }
}
