//! Cells by their names, in the order in which they came.
//!
//! To look at a cell costs more than all else once there are a hundred thousand: none is looked at to make room, or to be put in order.

use crate::cell::ServiceCell;
use foldhash::fast::RandomState;
use hashbrown::HashTable;
use std::hash::BuildHasher;
use std::sync::Arc;

#[derive(Debug, Default)]
pub(super) struct Cells {
    /// Where those are that have a hash. A fast one: whoever spawns a service chooses its name, and has better ways to harm the process.
    index: HashTable<At>,
    hasher: RandomState,
    /// In order, with the gaps that removed ones have left.
    places: Vec<Option<Arc<ServiceCell>>>,
}

/// Where a cell is.
#[derive(Debug, Clone, Copy)]
struct At {
    /// Half of the hash of its name, which is enough to tell most apart.
    hash: u32,
    /// Four billion services need more memory than there is.
    place: u32,
}

impl At {
    /// A hash as the table wants it, that takes its bits from both ends.
    fn spread(hash: u32) -> u64 {
        u64::from(hash) << 32 | u64::from(hash)
    }
}

impl Cells {
    /// Less than that are not worth closing.
    const FEW_GAPS: usize = 64;

    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    /// All, in order.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &Arc<ServiceCell>> {
        self.places.iter().flatten()
    }

    pub(super) fn get(&self, name: &str) -> Option<&Arc<ServiceCell>> {
        let hash = self.hash(name);
        let at = self
            .index
            .find(At::spread(hash), |at| is_at(&self.places, *at, hash, name))?;
        self.places.get(at.place as usize)?.as_ref()
    }

    /// Puts a cell behind all others. Answers the one of the same name that it takes the place of, if that is `replaceable`.
    ///
    /// # Errors
    /// As `replaceable`; nothing has changed then.
    pub(super) fn insert<E>(
        &mut self,
        cell: Arc<ServiceCell>,
        replaceable: impl FnOnce(&ServiceCell) -> Result<(), E>,
    ) -> Result<Option<Arc<ServiceCell>>, E> {
        let hash = self.hash(&cell.name);
        let place = u32::try_from(self.places.len()).unwrap_or(u32::MAX);
        let new = At { hash, place };
        let places = &mut self.places;
        let known = |at: &At| is_at(places, *at, hash, &cell.name);
        let Some(at) = self.index.find_mut(At::spread(hash), known) else {
            self.index
                .insert_unique(At::spread(hash), new, |at| At::spread(at.hash));
            places.push(Some(cell));
            return Ok(None);
        };
        let old = places.get_mut(at.place as usize);
        if let Some(Some(old)) = &old {
            replaceable(old)?;
        }
        let old = old.and_then(Option::take);
        *at = new;
        places.push(Some(cell));
        self.close_gaps();
        Ok(old)
    }

    /// Takes a cell out.
    pub(super) fn remove(&mut self, name: &str) -> Option<Arc<ServiceCell>> {
        let hash = self.hash(name);
        let places = &mut self.places;
        let found = self
            .index
            .find_entry(At::spread(hash), |at| is_at(places, *at, hash, name));
        let (at, _) = found.ok()?.remove();
        let cell = places.get_mut(at.place as usize)?.take();
        self.close_gaps();
        cell
    }

    /// Takes out those that are to go, in order.
    pub(super) fn take(&mut self, goes: impl Fn(&ServiceCell) -> bool) -> Vec<Arc<ServiceCell>> {
        let going = self.iter().filter(|cell| goes(cell));
        let going: Vec<_> = going.map(Arc::clone).collect();
        for cell in &going {
            drop(self.remove(&cell.name));
        }
        going
    }

    fn hash(&self, name: &str) -> u32 {
        (self.hasher.hash_one(name) >> 32) as u32
    }

    /// Closes the gaps once there are more of them than cells, so that each is paid for by those who left them.
    fn close_gaps(&mut self) {
        let gaps = self.places.len() - self.index.len();
        if gaps <= self.index.len().max(Self::FEW_GAPS) {
            return;
        }
        let mut next = 0;
        let moved = |place: &Option<_>| {
            let to = next;
            next += u32::from(place.is_some());
            to
        };
        let moved: Vec<u32> = self.places.iter().map(moved).collect();
        for at in &mut self.index {
            if let Some(to) = moved.get(at.place as usize) {
                at.place = *to;
            }
        }
        self.places.retain(Option::is_some);
    }
}

/// Whether the cell of this name is there.
fn is_at(places: &[Option<Arc<ServiceCell>>], at: At, hash: u32, name: &str) -> bool {
    let cell = || places.get(at.place as usize)?.as_ref();
    at.hash == hash && cell().is_some_and(|cell| *cell.name == *name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell::Traits;
    use crate::{RestartPolicy, clock};
    use proptest::prelude::*;

    fn cell(name: &str, id: u64) -> Arc<ServiceCell> {
        let (policy, traits) = (RestartPolicy::default(), Traits::default());
        Arc::new(ServiceCell::new(
            clock::now(),
            name.into(),
            id,
            policy,
            traits,
        ))
    }

    #[derive(Debug, Clone)]
    enum Act {
        Insert(u8),
        InsertUnless(u8),
        Remove(u8),
        TakeBelow(u8),
    }

    fn any_act() -> impl Strategy<Value = Act> {
        prop_oneof![
            6 => any::<u8>().prop_map(Act::Insert),
            1 => any::<u8>().prop_map(Act::InsertUnless),
            4 => any::<u8>().prop_map(Act::Remove),
            1 => (0..40_u8).prop_map(Act::TakeBelow),
        ]
    }

    proptest! {
        /// Beside a list that is searched from end to end.
        #[test]
        fn it_is_a_list_that_finds_names(acts in proptest::collection::vec(any_act(), 0..1_500)) {
            let mut cells = Cells::default();
            let mut list: Vec<(String, u64)> = Vec::new();
            let position = |list: &[(String, u64)], name: &str| list.iter().position(|(it, _)| it == name);
            for (id, act) in (0..).zip(acts) {
                match act {
                    Act::Insert(n) => {
                        let name = n.to_string();
                        let old = position(&list, &name).map(|at| list.remove(at).1);
                        let replaced = cells.insert(cell(&name, id), |_| Ok::<(), ()>(()));
                        prop_assert_eq!(replaced.unwrap().map(|cell| cell.id), old);
                        list.push((name, id));
                    }
                    Act::InsertUnless(n) => {
                        let name = n.to_string();
                        let is_new = position(&list, &name).is_none();
                        let inserted = cells.insert(cell(&name, id), |_| Err(()));
                        prop_assert_eq!(inserted.is_ok(), is_new);
                        if is_new {
                            list.push((name, id));
                        }
                    }
                    Act::Remove(n) => {
                        let name = n.to_string();
                        let old = position(&list, &name).map(|at| list.remove(at).1);
                        prop_assert_eq!(cells.remove(&name).map(|cell| cell.id), old);
                    }
                    Act::TakeBelow(n) => {
                        let goes = |name: &str| name.parse::<u8>().is_ok_and(|it| it < n);
                        let taken = cells.take(|cell| goes(&cell.name));
                        let going = list.iter().filter(|(name, _)| goes(name)).map(|(_, id)| *id);
                        prop_assert!(taken.iter().map(|cell| cell.id).eq(going));
                        list.retain(|(name, _)| !goes(name));
                    }
                }
                prop_assert_eq!(cells.len(), list.len());
                prop_assert!(cells.places.len() <= 2 * list.len().max(Cells::FEW_GAPS) + 1);
            }
            let found = cells.iter().map(|cell| (cell.name.to_string(), cell.id));
            prop_assert!(found.eq(list.iter().cloned()));
            for n in 0..=u8::MAX {
                let name = n.to_string();
                let id = position(&list, &name).map(|at| list[at].1);
                prop_assert_eq!(cells.get(&name).map(|cell| cell.id), id);
            }
        }
    }
}
