//! Names -> cells.
//!
//! The one lock that all services share, but for those of what limits them all together, where something does (`root.rs`,
//! `starts.rs`). Spawning, removing and listing take it; a service that runs, fails and restarts never does.

use crate::ServicePhase;
use crate::cell::ServiceCell;
use crate::revival::Dormant;
use foldhash::fast::RandomState;
use std::borrow::Borrow;
use std::collections::{HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[derive(Debug, Default)]
pub(crate) struct Registry(Mutex<Cells>);

/// Found by a fast hash: whoever spawns a service chooses its name, and has better ways to harm the process.
type Cells = HashSet<ByName, RandomState>;

impl Registry {
    /// Registers a service, and answers the terminated one of the same name that it takes the place of, behind what was inside it.
    ///
    /// # Errors
    /// The phase of a service of the same name that has not terminated.
    pub(crate) fn insert(
        &self,
        cell: Arc<ServiceCell>,
    ) -> Result<Vec<Arc<ServiceCell>>, ServicePhase> {
        let mut cells = self.lock();
        // Most names are new, and found to be in one look.
        let Some(ByName(old)) = cells.replace(ByName(cell)) else {
            return Ok(Vec::new());
        };
        if let Err(phase) = check_terminated(&old) {
            cells.replace(ByName(old));
            return Err(phase);
        }
        Ok(with_inside(&mut cells, old))
    }

    /// Registers a group and all in it, or nothing, and answers the terminated ones that they take the place of.
    ///
    /// # Errors
    /// The name that is in use by a service that has not terminated, and its phase.
    pub(crate) fn insert_all(
        &self,
        new: &[Arc<ServiceCell>],
    ) -> Result<Vec<Arc<ServiceCell>>, (Arc<str>, ServicePhase)> {
        let mut cells = self.lock();
        for cell in new {
            if let Some(ByName(old)) = cells.get(&*cell.name) {
                check_terminated(old).map_err(|phase| (Arc::clone(&cell.name), phase))?;
            }
        }
        let mut replaced = Vec::new();
        // A group that is taken the place of goes with all that is inside it. (One that runs again has the same children.)
        if let Some(top) = new.first().filter(|top| !top.traits.inside) {
            if cells
                .get(&*top.name)
                .is_some_and(|ByName(old)| old.traits.group)
            {
                replaced = take_inside(&mut cells, &top.name);
            }
        }
        for cell in new {
            if let Some(ByName(old)) = cells.replace(ByName(Arc::clone(cell))) {
                replaced.push(old);
            }
        }
        Ok(replaced)
    }

    /// Puts the next life of a service in its place, and answers the value that it was to begin with; unless another has the place,
    /// or there is no value.
    pub(crate) fn succeed(
        &self,
        old: &Arc<ServiceCell>,
        new: &Arc<ServiceCell>,
    ) -> Option<Dormant> {
        let mut cells = self.lock();
        cells.get(&*old.name).filter(|ByName(it)| it.id == old.id)?;
        let dormant = old.take_dormant()?;
        cells.replace(ByName(Arc::clone(new)));
        old.set_successor(new);
        Some(dormant)
    }

    pub(crate) fn get(&self, name: &str) -> Option<Arc<ServiceCell>> {
        self.lock().get(name).map(|ByName(cell)| Arc::clone(cell))
    }

    /// Takes out a terminated service, behind what was inside it.
    ///
    /// # Errors
    /// `None` if there is no such service, the phase if it has not terminated.
    pub(crate) fn remove(&self, name: &str) -> Result<Vec<Arc<ServiceCell>>, Option<ServicePhase>> {
        let mut cells = self.lock();
        let ByName(cell) = cells.get(name).ok_or(None)?;
        check_terminated(cell)?;
        let ByName(cell) = cells.take(name).ok_or(None)?;
        Ok(with_inside(&mut cells, cell))
    }

    /// Takes out all terminated services, in the order of spawning.
    pub(crate) fn remove_terminated(&self) -> Vec<Arc<ServiceCell>> {
        let mut removed = Vec::new();
        self.lock().retain(|ByName(cell)| {
            let keep = check_terminated(cell).is_err();
            if !keep {
                removed.push(numbered(cell));
            }
            keep
        });
        in_order(removed)
    }

    /// Takes out this very service, if it is there, behind what was inside it.
    pub(crate) fn remove_this(&self, cell: &ServiceCell) -> Vec<Arc<ServiceCell>> {
        let mut cells = self.lock();
        let is_there = cells
            .get(&*cell.name)
            .is_some_and(|ByName(it)| it.id == cell.id);
        let taken = is_there.then(|| cells.take(&*cell.name)).flatten();
        taken.map_or_else(Vec::new, |ByName(cell)| with_inside(&mut cells, cell))
    }

    /// All services, in no order.
    pub(crate) fn all(&self) -> Vec<Arc<ServiceCell>> {
        self.lock()
            .iter()
            .map(|ByName(cell)| Arc::clone(cell))
            .collect()
    }

    /// The supervisor's own services, without those inside groups, in the order of spawning.
    pub(crate) fn top(&self) -> Vec<Arc<ServiceCell>> {
        let cells = self.lock();
        let all = cells.iter().map(|ByName(cell)| cell);
        let top = all.filter(|cell| !cell.traits.inside);
        let top = top.map(numbered).collect();
        drop(cells);
        in_order(top)
    }

    /// All that is inside a group, in the order of spawning.
    pub(crate) fn inside(&self, group: &str) -> Vec<Arc<ServiceCell>> {
        let cells = self.lock();
        let all = cells.iter().map(|ByName(cell)| cell);
        let inside = all.filter(|cell| is_inside(cell, group));
        let inside = inside.map(numbered).collect();
        drop(cells);
        in_order(inside)
    }

    /// All services that are `wanted`, in the order of spawning, those inside a group behind it and in its order.
    pub(crate) fn list(&self, wanted: impl Fn(&ServiceCell) -> bool) -> Vec<Arc<ServiceCell>> {
        let cells = self.lock();
        let all = cells.iter().map(|ByName(cell)| cell);
        let all = all.filter(|cell| wanted(cell)).map(numbered).collect();
        drop(cells);
        in_tree_order(in_order(all))
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, Cells> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes out what is inside a service that was taken out, if it is a group: they have terminated with it. It comes last.
#[expect(
    clippy::mutable_key_type,
    reason = "a cell is hashed by its name, which never changes"
)]
fn with_inside(cells: &mut Cells, cell: Arc<ServiceCell>) -> Vec<Arc<ServiceCell>> {
    let mut removed = Vec::new();
    if cell.traits.group {
        removed = take_inside(cells, &cell.name);
    }
    removed.push(cell);
    removed
}

/// Takes out all that is inside a group, in the order of spawning.
#[expect(
    clippy::mutable_key_type,
    reason = "a cell is hashed by its name, which never changes"
)]
fn take_inside(cells: &mut Cells, group: &str) -> Vec<Arc<ServiceCell>> {
    let mut removed = Vec::new();
    cells.retain(|ByName(cell)| {
        let inside = is_inside(cell, group);
        if inside {
            removed.push(numbered(cell));
        }
        !inside
    });
    in_order(removed)
}

fn is_inside(cell: &ServiceCell, group: &str) -> bool {
    let rest = cell.name.strip_prefix(group);
    rest.is_some_and(|rest| rest.starts_with('/'))
}

/// # Errors
/// The phase, unless it has terminated.
fn check_terminated(cell: &ServiceCell) -> Result<(), ServicePhase> {
    match cell.read(|lifecycle| lifecycle.phase()) {
        ServicePhase::Terminated => Ok(()),
        phase => Err(phase),
    }
}

/// A service with its number beside it. To look at each once is what takes time in a large fleet.
fn numbered(cell: &Arc<ServiceCell>) -> (u64, Arc<ServiceCell>) {
    (cell.id, Arc::clone(cell))
}

/// In the order of spawning.
fn in_order(mut by_id: Vec<(u64, Arc<ServiceCell>)>) -> Vec<Arc<ServiceCell>> {
    let ids = || by_id.iter().map(|(id, _)| *id);
    let (first, last) = (ids().min().unwrap_or(0), ids().max().unwrap_or(0));
    let places = usize::try_from(last - first).map_or(usize::MAX, |last| last.saturating_add(1));
    if places / 4 > by_id.len() {
        by_id.sort_unstable_by_key(|(id, _)| *id);
        return by_id.into_iter().map(|(_, cell)| cell).collect();
    }
    // Most numbers are in use, so that each has its place.
    let mut ordered = vec![None; places];
    for (id, cell) in by_id {
        if let Some(place) = ordered.get_mut((id - first) as usize) {
            *place = Some(cell);
        }
    }
    ordered.into_iter().flatten().collect()
}

/// Moves those inside a group behind it: after a restart they are younger than what was spawned after the group.
fn in_tree_order(cells: Vec<Arc<ServiceCell>>) -> Vec<Arc<ServiceCell>> {
    if !cells.iter().any(|cell| cell.traits.inside) {
        return cells;
    }
    let mut inside: HashMap<Arc<str>, Vec<Arc<ServiceCell>>> = HashMap::new();
    let mut ahead = Vec::new();
    for cell in cells {
        match cell.name.rsplit_once('/') {
            None => ahead.push(cell),
            Some((group, _)) => inside.entry(group.into()).or_default().push(cell),
        }
    }
    let mut ordered = Vec::new();
    ahead.reverse();
    while let Some(cell) = ahead.pop() {
        let children = inside.remove(&cell.name).into_iter().flatten().rev();
        ordered.push(cell);
        ahead.extend(children);
    }
    // Those whose group was removed in this very moment.
    ordered.extend(inside.into_values().flatten());
    ordered
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
