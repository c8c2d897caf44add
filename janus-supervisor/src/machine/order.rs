//! Which of the root's services start after which, and stop before them.
//!
//! Only services that are in some relation are here. Order is all there is to it, as with systemd's `After=`: a service
//! that ends no longer holds anybody up, and its restarts concern nobody.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The services that were spawned after others, and those others, by their names.
#[derive(Debug, Default)]
pub(crate) struct StartOrder {
    nodes: BTreeMap<Arc<str>, Node>,
}

#[derive(Debug)]
struct Node {
    /// Names can be used again; this tells the services apart.
    id: u64,
    after: Vec<Arc<str>>,
    before: BTreeSet<Arc<str>>,
    /// Those of them that await it.
    awaited_by: BTreeSet<Arc<str>>,
    /// Those it is after that have neither been up nor ended since it was spawned.
    awaits: BTreeSet<Arc<str>>,
    /// It was told to start, or needs nobody to tell it.
    started: bool,
    /// It has ended, and is here only for those that started after it.
    ended: bool,
}

/// A service that would have to start after itself: the names on the way round.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Cycle(pub(crate) Vec<Arc<str>>);

/// Who may go on now: names, and which service of the name.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Freed {
    pub(crate) may_start: Vec<(Arc<str>, u64)>,
    pub(crate) may_stop: Vec<(Arc<str>, u64)>,
}

impl Freed {
    fn append(&mut self, mut other: Self) {
        self.may_start.append(&mut other.may_start);
        self.may_stop.append(&mut other.may_stop);
    }
}

/// Somebody to start after.
#[derive(Debug, Clone)]
pub(crate) struct Dependency {
    pub(crate) name: Arc<str>,
    pub(crate) id: u64,
    /// It is up, or has ended.
    pub(crate) up: bool,
}

impl StartOrder {
    /// Whether a service of this name could start after those.
    ///
    /// # Errors
    /// [`Cycle`] if one of them is to start after it.
    pub(crate) fn check(&self, name: &str, after: &[Dependency]) -> Result<(), Cycle> {
        // Whoever nobody is after is in no circle, and need not look how far back the others go.
        if self.may_stop(name) && after.iter().all(|on| *on.name != *name) {
            return Ok(());
        }
        // How each was come by, the way back to where the search began.
        let mut seen: BTreeMap<&str, Option<&str>> = BTreeMap::new();
        let mut ahead: Vec<&str> = Vec::new();
        for dependency in after {
            seen.insert(&dependency.name, None);
            ahead.push(&dependency.name);
        }
        while let Some(last) = ahead.pop() {
            if last == name {
                let mut path: Vec<Arc<str>> = vec![last.into()];
                let mut step = seen.get(last).copied().flatten();
                while let Some(back) = step {
                    path.push(back.into());
                    step = seen.get(back).copied().flatten();
                }
                path.reverse();
                return Err(Cycle(path));
            }
            for next in self.nodes.get(last).iter().flat_map(|node| &node.after) {
                if !seen.contains_key(&**next) {
                    seen.insert(next, Some(last));
                    ahead.push(next);
                }
            }
        }
        Ok(())
    }

    /// Takes in a service, and ends the one before it of the same name, if that has not been told. Returns who may go
    /// on now, the service itself among them if it comes after others and may start at once.
    ///
    /// If another has come in since the [`check`](Self::check) that is to start after this one, this one is after
    /// nobody. One that is after nobody is taken in only if it takes the place of one that others started after.
    pub(crate) fn add(&mut self, name: &Arc<str>, id: u64, after: Vec<Dependency>) -> Freed {
        let mut freed = self.replace(name, id);
        let is_last = after.is_empty();
        if is_last || self.check(name, &after).is_err() {
            if !is_last {
                freed.may_start.push((Arc::clone(name), id));
            }
            if let Some(node) = self.nodes.get_mut(name) {
                node.begin(id);
            }
            return freed;
        }
        let mut names = Vec::new();
        let mut awaits = BTreeSet::new();
        for dependency in after {
            // It may have taken the place of another, and not have been taken in yet.
            freed.append(self.replace(&dependency.name, dependency.id));
            let node = self
                .nodes
                .entry(Arc::clone(&dependency.name))
                .or_insert(Node::new(dependency.id));
            if node.id < dependency.id {
                node.begin(dependency.id);
            }
            node.before.insert(Arc::clone(name));
            // Its end may have been told by now.
            let is_over = node.ended || node.id > dependency.id;
            if !dependency.up && !is_over {
                node.awaited_by.insert(Arc::clone(name));
                awaits.insert(Arc::clone(&dependency.name));
            }
            names.push(dependency.name);
        }
        let node = self.nodes.entry(Arc::clone(name)).or_insert(Node::new(id));
        node.begin(id);
        node.after = names;
        node.started = awaits.is_empty();
        node.awaits = awaits;
        if node.started {
            freed.may_start.push((Arc::clone(name), id));
        }
        freed
    }

    /// This service has taken the place of the name: if the end of the one before it has not been told, it is now.
    /// As [`end`](Self::end) does.
    fn replace(&mut self, name: &str, id: u64) -> Freed {
        match self.nodes.get(name).map(|node| node.id) {
            Some(old) if old < id => self.end(name, old),
            _ => Freed::default(),
        }
    }

    /// A service has become ready. Returns who may start now.
    pub(crate) fn up(&mut self, name: &str, id: u64) -> Vec<(Arc<str>, u64)> {
        match self.nodes.get(name) {
            Some(node) if node.id == id => self.waiting_for(name),
            _ => Vec::new(),
        }
    }

    /// A service has ended. Returns who may start now, and who may stop now.
    pub(crate) fn end(&mut self, name: &str, id: u64) -> Freed {
        let after = match self.nodes.get_mut(name) {
            Some(node) if node.id == id && !node.ended => {
                node.ended = true;
                std::mem::take(&mut node.after)
            }
            _ => return Freed::default(),
        };
        let may_start = self.waiting_for(name);
        let mut may_stop = Vec::new();
        for other in after {
            if let Some(node) = self.nodes.get_mut(&other) {
                node.before.remove(name);
                node.awaited_by.remove(name);
                if node.before.is_empty() {
                    may_stop.push((Arc::clone(&other), node.id));
                    self.forget_if_over(&other);
                }
            }
        }
        self.forget_if_over(name);
        Freed {
            may_start,
            may_stop,
        }
    }

    /// Whether a service of this name is in it.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.nodes.contains_key(name)
    }

    /// Whether nobody is left who started after it.
    pub(crate) fn may_stop(&self, name: &str) -> bool {
        self.nodes
            .get(name)
            .is_none_or(|node| node.before.is_empty())
    }

    fn forget_if_over(&mut self, name: &str) {
        if self
            .nodes
            .get(name)
            .is_some_and(|node| node.ended && node.before.is_empty())
        {
            self.nodes.remove(name);
        }
    }

    /// Those that have waited for `name`, and wait for nobody else: from now on, they have been told.
    fn waiting_for(&mut self, name: &str) -> Vec<(Arc<str>, u64)> {
        let awaited_by = self.nodes.get_mut(name).map(|node| &mut node.awaited_by);
        let mut may_start = Vec::new();
        for who in awaited_by.map(std::mem::take).unwrap_or_default() {
            if let Some(node) = self.nodes.get_mut(&who).filter(|node| !node.started) {
                node.awaits.remove(name);
                if node.awaits.is_empty() {
                    node.started = true;
                    may_start.push((who, node.id));
                }
            }
        }
        may_start
    }
}

impl Node {
    fn new(id: u64) -> Self {
        Self {
            id,
            after: Vec::new(),
            before: BTreeSet::new(),
            awaited_by: BTreeSet::new(),
            awaits: BTreeSet::new(),
            started: true,
            ended: false,
        }
    }

    /// Another service of the name has taken its place. It is told to start by nobody, unless it turns out to be after
    /// others.
    fn begin(&mut self, id: u64) {
        (self.id, self.ended, self.started) = (id, false, true);
        self.awaits.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(names: &[(&str, u64, bool)]) -> Vec<Dependency> {
        let dependency = |(name, id, up): &(&str, u64, bool)| Dependency {
            name: (*name).into(),
            id: *id,
            up: *up,
        };
        names.iter().map(dependency).collect()
    }

    fn names(which: &[(Arc<str>, u64)]) -> Vec<&str> {
        which.iter().map(|(name, _)| &**name).collect()
    }

    /// Takes in one that frees nobody else. Returns whether it may start at once.
    fn add(order: &mut StartOrder, name: &str, id: u64, after: Vec<Dependency>) -> bool {
        let is_last = after.is_empty();
        let freed = order.add(&name.into(), id, after);
        assert_eq!(freed.may_stop, []);
        let may_start = [(Arc::from(name), id)];
        if freed.may_start.is_empty() {
            return is_last;
        }
        assert_eq!(freed.may_start, may_start);
        true
    }

    fn way(cycle: &Cycle) -> Vec<&str> {
        cycle.0.iter().map(|name| &**name).collect()
    }

    #[test]
    fn each_starts_when_all_it_comes_after_are_up_and_stops_before_them() {
        let mut order = StartOrder::default();
        let after = on(&[("db", 0, false), ("cache", 1, true)]);
        order.check("api", &after).unwrap();
        assert!(!add(&mut order, "api", 2, after));
        assert!(!add(&mut order, "web", 3, on(&[("api", 2, false)])));
        assert_eq!(names(&order.up("db", 0)), ["api"]);
        assert_eq!(names(&order.up("db", 0)), [""; 0], "only once");
        assert_eq!(names(&order.up("api", 2)), ["web"]);

        assert!(!order.may_stop("db") && !order.may_stop("cache") && !order.may_stop("api"));
        assert!(order.may_stop("web") && order.may_stop("stranger"));
        assert_eq!(names(&order.end("web", 3).may_stop), ["api"]);
        assert_eq!(names(&order.end("api", 2).may_stop), ["db", "cache"]);
        assert!(order.may_stop("db"));
    }

    #[test]
    fn one_that_ends_without_having_been_up_holds_nobody_up() {
        let mut order = StartOrder::default();
        assert!(!add(
            &mut order,
            "api",
            2,
            on(&[("db", 0, false), ("cache", 1, false)])
        ));
        assert_eq!(
            names(&order.end("db", 0).may_start),
            [""; 0],
            "there is another"
        );
        assert_eq!(names(&order.end("cache", 1).may_start), ["api"]);
    }

    /// It has been up, and backs off now: whoever comes late waits for it, whoever came in time has started.
    #[test]
    fn one_that_is_down_again_holds_up_who_comes_after_that() {
        let mut order = StartOrder::default();
        assert!(add(&mut order, "api", 2, on(&[("db", 0, true)])));
        assert!(!add(&mut order, "web", 3, on(&[("db", 0, false)])));
        assert_eq!(names(&order.up("db", 0)), ["web"]);
    }

    #[test]
    fn one_that_is_replaced_has_ended_and_is_told_of_once() {
        let mut order = StartOrder::default();
        let mut replace = |name: &str, id| order.add(&name.into(), id, vec![]);
        assert_eq!(replace("stranger", 9), Freed::default());
        order.add(&"api".into(), 2, on(&[("db", 0, false)]));
        let mut replace = |id| order.add(&"db".into(), id, vec![]);
        assert_eq!(replace(0), Freed::default(), "it is the same");
        assert_eq!(names(&replace(5).may_start), ["api"]);
        assert_eq!(replace(5), Freed::default());
    }

    /// `db` has been spawned anew, and another after that, before the order has heard of the former.
    #[test]
    fn one_that_is_not_taken_in_yet_is_waited_for_and_the_one_before_it_has_ended() {
        let mut order = StartOrder::default();
        assert!(!add(&mut order, "api", 2, on(&[("db", 0, false)])));
        let freed = order.add(&"web".into(), 6, on(&[("db", 5, false)]));
        assert_eq!(names(&freed.may_start), ["api"], "and not web");
        assert_eq!(order.add(&"db".into(), 5, vec![]), Freed::default());
        assert_eq!(order.up("db", 0), []);
        assert_eq!(names(&order.up("db", 5)), ["web"]);
        assert!(!order.may_stop("db"));
        order.end("api", 2);
        assert_eq!(names(&order.end("web", 6).may_stop), ["db"]);
        order.end("db", 5);
        assert!(order.nodes.is_empty());
    }

    #[test]
    fn one_that_has_ended_is_not_waited_for_by_who_comes_later() {
        let mut order = StartOrder::default();
        assert!(add(&mut order, "api", 2, on(&[("db", 0, true)])));
        order.end("db", 0);
        assert!(add(&mut order, "web", 3, on(&[("db", 0, false)])));
    }

    /// Its dependency was replaced by one that is not of the order, after it had looked for it.
    #[test]
    fn one_that_was_replaced_meanwhile_is_not_waited_for() {
        let mut order = StartOrder::default();
        assert!(!add(&mut order, "api", 2, on(&[("db", 0, false)])));
        order.end("db", 0);
        assert!(add(&mut order, "db", 5, vec![]));
        assert!(add(&mut order, "web", 4, on(&[("db", 0, false)])));
    }

    /// Both have passed the check before either was taken in.
    #[test]
    fn of_two_that_are_to_start_after_each_other_the_later_is_after_nobody() {
        let mut order = StartOrder::default();
        let (after_b, after_a) = (on(&[("b", 0, true)]), on(&[("a", 1, false)]));
        order.check("a", &after_b).unwrap();
        order.check("b", &after_a).unwrap();
        assert!(add(&mut order, "a", 1, after_b));
        assert!(add(&mut order, "b", 2, after_a));
        assert!(!order.may_stop("b"));
        assert!(order.may_stop("a"));
        assert_eq!(names(&order.end("a", 1).may_stop), ["b"]);
        order.end("b", 2);
        assert!(order.nodes.is_empty());
    }

    #[test]
    fn another_of_the_same_name_is_not_mistaken_for_it() {
        let mut order = StartOrder::default();
        order.add(&"api".into(), 2, on(&[("db", 0, false)]));
        assert_eq!(order.up("db", 9), []);
        assert_eq!(order.end("db", 9), Freed::default());
        assert_eq!(names(&order.up("db", 0)), ["api"]);
    }

    #[test]
    fn one_that_takes_the_place_of_an_ended_one_still_stops_last() {
        let mut order = StartOrder::default();
        order.add(&"api".into(), 2, on(&[("db", 0, true)]));
        assert_eq!(order.end("db", 0), Freed::default());
        assert!(add(&mut order, "db", 5, vec![]));
        assert!(!order.may_stop("db"));
        assert_eq!(names(&order.end("api", 2).may_stop), ["db"]);
        order.end("db", 5);
        assert!(order.nodes.is_empty());
    }

    #[test]
    fn one_that_takes_the_place_of_an_ended_one_is_waited_for() {
        let mut order = StartOrder::default();
        order.add(&"api".into(), 2, on(&[("db", 0, true)]));
        order.end("db", 0);
        assert!(add(&mut order, "db", 5, vec![]));
        assert!(!add(&mut order, "web", 6, on(&[("db", 5, false)])));
        assert_eq!(names(&order.up("db", 5)), ["web"]);
    }

    #[test]
    fn a_cycle_is_found_however_long() {
        let mut order = StartOrder::default();
        order.add(&"b".into(), 1, on(&[("a", 0, true)]));
        order.add(&"c".into(), 2, on(&[("b", 1, true)]));
        let cycle = order.check("a", &on(&[("x", 7, true), ("c", 2, true)]));
        assert_eq!(way(&cycle.unwrap_err()), ["c", "b", "a"]);
        let own = order.check("a", &on(&[("a", 0, true)]));
        assert_eq!(way(&own.unwrap_err()), ["a"]);
        assert_eq!(order.check("d", &on(&[("c", 2, true)])), Ok(()));
    }

    #[test]
    fn nobody_can_start_after_itself() {
        let order = StartOrder::default();
        let itself = on(&[("it", u64::MAX, false)]);
        assert_eq!(order.check("it", &itself), Err(Cycle(vec!["it".into()])));
        assert_eq!(order.check("other", &itself), Ok(()));
    }

    /// Somebody who waits for one that never comes up may end before.
    #[test]
    fn nobody_is_kept_who_waited_in_vain() {
        let mut order = StartOrder::default();
        for id in 1..100 {
            let name = format!("client-{id}");
            assert!(!add(&mut order, &name, id, on(&[("db", 0, false)])));
            order.end(&name, id);
        }
        assert!(!add(&mut order, "last", 100, on(&[("db", 0, false)])));
        let db = &order.nodes["db"];
        assert_eq!((db.before.len(), db.awaited_by.len()), (1, 1));
        assert_eq!(names(&order.up("db", 0)), ["last"]);
    }

    /// It has its name anew, and has not been taken in with what it is after now.
    #[test]
    fn one_that_has_begun_anew_is_not_started_by_what_it_was_after_before() {
        let mut order = StartOrder::default();
        assert!(!add(&mut order, "x", 2, on(&[("db", 0, false)])));
        assert!(!add(&mut order, "w", 3, on(&[("x", 2, false)])));
        // The new x is known only as somebody that y is after.
        let freed = order.add(&"y".into(), 6, on(&[("x", 5, false)]));
        assert_eq!(names(&freed.may_start), ["w"], "the old x is over");
        assert_eq!(names(&order.up("db", 0)), [""; 0]);
        let freed = order.add(&"x".into(), 5, on(&[("cache", 4, false)]));
        assert_eq!(names(&freed.may_start), [""; 0]);
        assert_eq!(names(&order.up("cache", 4)), ["x"]);
        assert_eq!(names(&order.up("x", 5)), ["y"]);
    }
}
