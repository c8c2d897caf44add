//! Cells by their names, in the order in which they came.
//!
//! To look at a cell costs more than all else once there are a hundred thousand, and holds up its task, if that is at
//! work: none is looked at to make room, to be put in order, or to be listed (but for the last few, if one comes while
//! somebody lists them).

use crate::cell::ServiceCell;
use arrayvec::ArrayVec;
use foldhash::fast::RandomState;
use hashbrown::HashTable;
use std::hash::BuildHasher;
use std::sync::Arc;

#[derive(Debug, Default)]
pub(super) struct Cells {
    /// Where those are that have a hash. A fast one: whoever spawns a service chooses its name, and has better ways to
    /// harm the process.
    index: HashTable<At>,
    hasher: RandomState,
    places: Places,
    /// Some of them are inside groups, or were.
    nested: bool,
}

/// All cells at one moment, in order. They stay with whoever holds this.
#[derive(Debug)]
pub(crate) struct Listing {
    places: Places,
    nested: bool,
}

impl Listing {
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Arc<ServiceCell>> {
        self.places.iter()
    }

    /// Whether some of them may be inside groups.
    pub(super) const fn is_nested(&self) -> bool {
        self.nested
    }
}

/// Cells in order, with the gaps that removed ones have left; in chunks, which whoever lists them shares.
#[derive(Debug, Default, Clone)]
struct Places(Vec<Arc<Chunk>>);

type Chunk = ArrayVec<Option<Arc<ServiceCell>>, CHUNK>;

const CHUNK: usize = 64;

impl Places {
    fn len(&self) -> usize {
        let last = self.0.last();
        last.map_or(0, |last| (self.0.len() - 1) * CHUNK + last.len())
    }

    fn iter(&self) -> impl DoubleEndedIterator<Item = &Arc<ServiceCell>> {
        self.0.iter().flat_map(|chunk| chunk.iter()).flatten()
    }

    fn get(&self, place: u32) -> Option<&Arc<ServiceCell>> {
        let place = place as usize;
        self.0.get(place / CHUNK)?.get(place % CHUNK)?.as_ref()
    }

    fn push(&mut self, cell: Arc<ServiceCell>) {
        match self.0.last_mut() {
            // A copy, if somebody is just listing it.
            Some(last) if !last.is_full() => Arc::make_mut(last).push(Some(cell)),
            _ => {
                let mut chunk = Chunk::new();
                chunk.push(Some(cell));
                self.0.push(Arc::new(chunk));
            }
        }
    }

    fn take(&mut self, place: u32) -> Option<Arc<ServiceCell>> {
        let place = place as usize;
        let chunk = self.0.get_mut(place / CHUNK)?;
        Arc::make_mut(chunk).get_mut(place % CHUNK)?.take()
    }

    /// Closes the gaps. Returns where each has gone.
    fn close_gaps(&mut self) -> Vec<u32> {
        let mut moved = Vec::with_capacity(self.len());
        for chunk in std::mem::take(&mut self.0) {
            // A copy, as in `push`.
            for cell in Arc::unwrap_or_clone(chunk) {
                moved.push(place(self.len()));
                if let Some(cell) = cell {
                    self.push(cell);
                }
            }
        }
        moved
    }
}

/// Four billion services need more memory than there is.
fn place(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// Where a cell is.
#[derive(Debug, Clone, Copy)]
struct At {
    /// Half of the hash of its name, which is enough to tell most apart.
    hash: u32,
    place: u32,
}

impl At {
    /// A hash as the table wants it: where to look is in its lowest bits, and what to look for there in its highest.
    fn spread(hash: u32) -> u64 {
        u64::from(hash) << 32 | u64::from(hash)
    }
}

impl Cells {
    /// Fewer than that are not worth closing.
    const FEW_GAPS: usize = 64;

    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    /// All, in order.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &Arc<ServiceCell>> {
        self.places.iter()
    }

    /// All, in order.
    pub(super) fn all(&self) -> Listing {
        Listing {
            places: self.places.clone(),
            nested: self.nested,
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&Arc<ServiceCell>> {
        let hash = self.hash(name);
        let at = self
            .index
            .find(At::spread(hash), |at| is_at(&self.places, *at, hash, name))?;
        self.places.get(at.place)
    }

    /// Puts a cell behind all others. Returns the one of the same name that it takes the place of, if that is
    /// `replaceable`.
    ///
    /// # Errors
    /// As `replaceable`; nothing has changed then.
    pub(super) fn insert<E>(
        &mut self,
        cell: Arc<ServiceCell>,
        replaceable: impl FnOnce(&ServiceCell) -> Result<(), E>,
    ) -> Result<Option<Arc<ServiceCell>>, E> {
        let hash = self.hash(&cell.name);
        let place = place(self.places.len());
        let new = At { hash, place };
        self.nested |= cell.traits.inside;
        let places = &mut self.places;
        let known = |at: &At| is_at(places, *at, hash, &cell.name);
        let Some(at) = self.index.find_mut(At::spread(hash), known) else {
            self.index
                .insert_unique(At::spread(hash), new, |at| At::spread(at.hash));
            places.push(cell);
            return Ok(None);
        };
        if let Some(old) = places.get(at.place) {
            replaceable(old)?;
        }
        let old = places.take(at.place);
        *at = new;
        places.push(cell);
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
        let cell = places.take(at.place);
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

    /// Closes the gaps once there are more of them than cells, and gives back the room that nobody needs: so that those
    /// who have left pay for it.
    fn close_gaps(&mut self) {
        let gaps = self.places.len() - self.index.len();
        if gaps <= self.index.len().max(Self::FEW_GAPS) {
            return;
        }
        let moved = self.places.close_gaps();
        let room = 2 * self.index.len().max(Self::FEW_GAPS);
        self.index.shrink_to(room, |at| At::spread(at.hash));
        for at in &mut self.index {
            if let Some(to) = moved.get(at.place as usize) {
                at.place = *to;
            }
        }
    }
}

/// Whether the cell of this name is there.
fn is_at(places: &Places, at: At, hash: u32, name: &str) -> bool {
    at.hash == hash && places.get(at.place).is_some_and(|cell| *cell.name == *name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::tests::cell;
    use proptest::prelude::*;

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

    #[test]
    fn a_hash_has_its_bits_at_both_ends() {
        assert_eq!(At::spread(0x8000_0003), 0x8000_0003_8000_0003);
        let cells = Cells::default();
        assert_ne!(cells.hash("one"), cells.hash("other"));
    }

    #[test]
    fn names_of_one_hash_are_told_apart() {
        let mut places = Places::default();
        places.push(cell("one", 0));
        let (hash, place) = (7, 0);
        assert!(is_at(&places, At { hash, place }, hash, "one"));
        assert!(!is_at(&places, At { hash, place }, hash, "other"));
    }

    #[test]
    fn gaps_are_closed_once_there_are_more_of_them_than_cells() {
        let mut cells = Cells::default();
        for id in 0..2_000 {
            let inserted = cells.insert(cell(&id.to_string(), id), |_| Err(()));
            assert!(inserted.unwrap().is_none());
        }
        let places_after = |cells: &mut Cells, removed: std::ops::Range<u64>| {
            for id in removed {
                assert_eq!(cells.remove(&id.to_string()).unwrap().id, id);
            }
            cells.places.len()
        };
        assert_eq!(places_after(&mut cells, 0..1_000), 2_000);
        assert_eq!(places_after(&mut cells, 1_000..1_001), 999);
        let left = places_after(&mut cells, 1_001..2_000);
        assert!(left <= Cells::FEW_GAPS, "{left}");
        let room = cells.index.capacity();
        assert!(room <= 4 * Cells::FEW_GAPS, "{room}");
    }

    fn shown(listing: &Listing) -> impl Iterator<Item = (String, u64)> {
        listing.iter().map(|cell| (cell.name.to_string(), cell.id))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]

        /// Beside a list that is searched from end to end.
        #[test]
        fn it_is_a_list_that_finds_names(acts in proptest::collection::vec((any_act(), any::<bool>()), 0..1_000)) {
            let mut listed: Option<(Listing, Vec<(String, u64)>)> = None;
            let mut cells = Cells::default();
            let mut list: Vec<(String, u64)> = Vec::new();
            let position = |list: &[(String, u64)], name: &str| list.iter().position(|(it, _)| it == name);
            for (id, (act, lists)) in (0..).zip(acts) {
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
                // One who has just listed them sees them as they were.
                match &listed {
                    Some((listing, then)) => prop_assert!(shown(listing).eq(then.iter().cloned())),
                    None => listed = Some((cells.all(), list.clone())),
                }
                if lists {
                    listed = None;
                }
                prop_assert_eq!(cells.len(), list.len());
                prop_assert!(cells.places.len() <= 2 * list.len().max(Cells::FEW_GAPS) + 1);
            }
            prop_assert!(shown(&cells.all()).eq(list.iter().cloned()));
            for n in 0..=u8::MAX {
                let name = n.to_string();
                let id = position(&list, &name).map(|at| list[at].1);
                prop_assert_eq!(cells.get(&name).map(|cell| cell.id), id);
            }
        }
    }
}
