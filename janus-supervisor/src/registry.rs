//! Names -> cells.
//!
//! The one lock that all services share, but for those of what limits them all together, where something does
//! (`root.rs`, `starts.rs`). Spawning, removing and listing take it; a service that runs, fails and restarts never
//! does.

mod cells;

pub(crate) use self::cells::Listing;

use self::cells::Cells;
use crate::ServicePhase;
use crate::cell::ServiceCell;
use crate::revival::Dormant;
use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[derive(Debug, Default)]
pub(crate) struct Registry(Mutex<Cells>);

/// What was taken out.
pub(crate) struct Removed {
    pub(crate) cell: Arc<ServiceCell>,
    /// What was inside it, and then itself.
    pub(crate) all: Vec<Arc<ServiceCell>>,
}

impl Registry {
    /// Registers a service, and returns the terminated one of the same name that it takes the place of, behind what was
    /// inside it.
    ///
    /// # Errors
    /// The phase of a service of the same name that has not terminated.
    pub(crate) fn insert(
        &self,
        cell: Arc<ServiceCell>,
    ) -> Result<Vec<Arc<ServiceCell>>, ServicePhase> {
        let mut cells = self.lock();
        let replaced = cells.insert(cell, check_terminated)?;
        Ok(replaced.map_or_else(Vec::new, |old| with_inside(&mut cells, old)))
    }

    /// Registers a group and all in it, or nothing, and returns the terminated ones that they take the place of.
    ///
    /// # Errors
    /// The name that is in use by a service that has not terminated, and its phase.
    pub(crate) fn insert_all(
        &self,
        new: &[Arc<ServiceCell>],
    ) -> Result<Vec<Arc<ServiceCell>>, (Arc<str>, ServicePhase)> {
        let mut cells = self.lock();
        for cell in new {
            if let Some(old) = cells.get(&cell.name) {
                check_terminated(old).map_err(|phase| (Arc::clone(&cell.name), phase))?;
            }
        }
        let mut replaced = Vec::new();
        // A group that is taken the place of goes with all that is inside it. (One that runs again has the same
        // children.)
        if let Some(top) = new.first().filter(|top| !top.traits.inside) {
            if cells.get(&top.name).is_some_and(|old| old.traits.group) {
                replaced = take_inside(&mut cells, &top.name);
            }
        }
        for cell in new {
            replaced.extend(put(&mut cells, Arc::clone(cell)));
        }
        Ok(replaced)
    }

    /// Puts the next life of a service in its place, and returns the value that it was to begin with; unless another
    /// has the place, or there is no value.
    pub(crate) fn succeed(
        &self,
        old: &Arc<ServiceCell>,
        new: &Arc<ServiceCell>,
    ) -> Option<Dormant> {
        let mut cells = self.lock();
        cells.get(&old.name).filter(|it| it.id == old.id)?;
        let dormant = old.take_dormant()?;
        put(&mut cells, Arc::clone(new));
        old.set_successor(new);
        Some(dormant)
    }

    pub(crate) fn get(&self, name: &str) -> Option<Arc<ServiceCell>> {
        self.lock().get(name).map(Arc::clone)
    }

    /// Takes out a terminated service, with what is inside it.
    ///
    /// # Errors
    /// `None` if there is no such service, the phase if it has not terminated.
    pub(crate) fn remove(&self, name: &str) -> Result<Removed, Option<ServicePhase>> {
        let mut cells = self.lock();
        check_terminated(cells.get(name).ok_or(None)?)?;
        let cell = cells.remove(name).ok_or(None)?;
        let all = with_inside(&mut cells, Arc::clone(&cell));
        Ok(Removed { cell, all })
    }

    /// Takes out all terminated services, in the order of spawning.
    pub(crate) fn remove_terminated(&self) -> Vec<Arc<ServiceCell>> {
        self.lock().take(|cell| check_terminated(cell).is_ok())
    }

    /// Takes out this very service, if it is there, behind what was inside it.
    pub(crate) fn remove_this(&self, cell: &ServiceCell) -> Vec<Arc<ServiceCell>> {
        let mut cells = self.lock();
        let is_there = cells.get(&cell.name).is_some_and(|it| it.id == cell.id);
        let taken = is_there.then(|| cells.remove(&cell.name)).flatten();
        taken.map_or_else(Vec::new, |cell| with_inside(&mut cells, cell))
    }

    /// All services, in the order of spawning.
    pub(crate) fn all(&self) -> Listing {
        self.lock().all()
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, Cells> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes out what is inside a service that was taken out, if it is a group. It comes last.
fn with_inside(cells: &mut Cells, cell: Arc<ServiceCell>) -> Vec<Arc<ServiceCell>> {
    let mut removed = Vec::new();
    if cell.traits.group {
        removed = take_inside(cells, &cell.name);
    }
    removed.push(cell);
    removed
}

/// Takes out what is inside a group that has terminated, in the order of spawning: what has not terminated with it,
/// because it is on a runtime of its own and the group was lost with another, stays for those who look for it.
fn take_inside(cells: &mut Cells, group: &str) -> Vec<Arc<ServiceCell>> {
    cells.take(|cell| is_inside(&cell.name, group) && check_terminated(cell).is_ok())
}

/// Puts a cell in the place of one with its name, if there is one: that is answered.
fn put(cells: &mut Cells, cell: Arc<ServiceCell>) -> Option<Arc<ServiceCell>> {
    let Ok(replaced) = cells.insert(cell, |_| Ok::<(), Infallible>(()));
    replaced
}

/// Whether what has this path is inside that group.
pub(crate) fn is_inside(path: &str, group: &str) -> bool {
    let rest = path.strip_prefix(group);
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

impl Listing {
    /// The supervisor's own services, without those inside groups.
    pub(crate) fn top(&self) -> impl DoubleEndedIterator<Item = &Arc<ServiceCell>> {
        self.iter().filter(|cell| !cell.traits.inside)
    }

    /// All that is inside a group.
    pub(crate) fn inside(&self, group: &str) -> impl DoubleEndedIterator<Item = &Arc<ServiceCell>> {
        self.iter().filter(move |cell| is_inside(&cell.name, group))
    }

    /// All, with those inside a group behind it and in its order: after a restart they are younger than what was
    /// spawned after the group.
    pub(crate) fn in_tree_order(&self) -> Vec<&Arc<ServiceCell>> {
        if !self.is_nested() {
            return self.iter().collect();
        }
        let groups = self.iter().filter(|cell| cell.traits.group);
        let groups: HashSet<&str> = groups.map(|cell| &*cell.name).collect();
        let mut inside: HashMap<&str, Vec<_>> = HashMap::new();
        let mut ahead = Vec::new();
        for cell in self.iter() {
            match cell.name.rsplit_once('/') {
                Some((group, _)) if groups.contains(group) => {
                    inside.entry(group).or_default().push(cell);
                }
                // One of the supervisor's own, or one that has outlived its group.
                _ => ahead.push(cell),
            }
        }
        let mut ordered = Vec::new();
        ahead.reverse();
        while let Some(cell) = ahead.pop() {
            let children = inside.remove(&*cell.name).into_iter().flatten().rev();
            ordered.push(cell);
            ahead.extend(children);
        }
        ordered
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell::Traits;
    use crate::{RestartPolicy, clock};

    pub(super) fn cell(name: &str, id: u64) -> Arc<ServiceCell> {
        let traits = Traits {
            group: name.ends_with(['g', 'h']),
            inside: name.contains('/'),
            ..Traits::default()
        };
        let policy = RestartPolicy::default();
        Arc::new(ServiceCell::new(
            clock::now(),
            name.into(),
            id,
            policy,
            traits,
        ))
    }

    fn names<'a>(cells: impl IntoIterator<Item = &'a Arc<ServiceCell>>) -> Vec<&'a str> {
        cells.into_iter().map(|cell| &*cell.name).collect()
    }

    /// A group whose children were registered anew after what came behind it.
    #[test]
    fn those_inside_a_group_are_listed_behind_it() {
        let registry = Registry::default();
        let spawned = ["a", "g", "z", "g/h", "g/one", "g/h/two"];
        for (id, name) in (0..).zip(spawned) {
            assert!(registry.insert(cell(name, id)).unwrap().is_empty());
        }
        let all = registry.all();
        assert_eq!(names(all.iter()), spawned);
        assert_eq!(names(all.top()), ["a", "g", "z"]);
        assert_eq!(names(all.inside("g")), ["g/h", "g/one", "g/h/two"]);
        let in_tree_order = ["a", "g", "g/h", "g/h/two", "g/one", "z"];
        assert_eq!(names(all.in_tree_order()), in_tree_order);
    }

    /// A group that was lost with its runtime, and forgotten, while what is inside it goes on elsewhere.
    #[test]
    fn those_that_have_outlived_their_group_are_listed_in_their_order() {
        let registry = Registry::default();
        let spawned = ["a", "g", "g/h", "g/h/g", "g/h/one", "g/h/g/two", "z"];
        for (id, name) in (0..).zip(spawned) {
            registry.insert(cell(name, id)).unwrap();
        }
        registry.lock().remove("g");
        let in_tree_order = ["a", "g/h", "g/h/g", "g/h/g/two", "g/h/one", "z"];
        assert_eq!(names(registry.all().in_tree_order()), in_tree_order);
    }
}
