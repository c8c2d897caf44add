//! How many services may start at a time, and how far their restarts are to be apart.

use super::protocol::Turn;
use janus_lifecycle::Retry;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// A place among those that start, or in the queue for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(u64);

/// What may start now, of all services of one supervisor. Places are given in the order they are asked for.
///
/// Each call costs the logarithm of the length of the queue.
#[derive(Debug)]
pub(crate) struct StartLimit<W> {
    places: usize,
    spread: Duration,
    taken: usize,
    /// Who waits for a place.
    queue: BTreeMap<Ticket, W>,
    next: Ticket,
    /// When the last of the restarts that were spread has its turn.
    last_turn: Option<Instant>,
    /// Turns before that one that were given back. They are apart from one another as all turns are.
    given_back: BTreeSet<Instant>,
}

impl<W> StartLimit<W> {
    /// So many at a time, and restarts no closer to one another than this.
    pub(crate) const fn new(places: usize, spread: Duration) -> Self {
        Self {
            places,
            spread,
            taken: 0,
            queue: BTreeMap::new(),
            next: Ticket(0),
            last_turn: None,
            given_back: BTreeSet::new(),
        }
    }

    /// Whether there is no place at all.
    pub(crate) const fn is_closed(&self) -> bool {
        self.places == 0
    }

    /// When the next restart may begin, which from now on is taken.
    pub(crate) fn take_turn(&mut self, now: Instant) -> Turn {
        if self.spread.is_zero() {
            return Turn::Go;
        }
        // Those of the past are gone. What is left is apart from the turns that are still to come.
        self.given_back = self.given_back.split_off(&now);
        if let Some(at) = self.given_back.pop_first() {
            return if at > now { Turn::At(at) } else { Turn::Go };
        }
        // A retry is never beyond the end of time.
        let free = self
            .last_turn
            .map(|last| Retry::after(last, self.spread, 0).at);
        let at = free.map_or(now, |free| free.max(now));
        self.last_turn = Some(at);
        if at > now { Turn::At(at) } else { Turn::Go }
    }

    /// Gives a turn back that is still to come.
    pub(crate) fn give_back(&mut self, turn: Instant, now: Instant) {
        if turn > now {
            self.given_back.insert(turn);
        }
    }

    /// Takes a place, or one in the queue; returns whether it is the former.
    pub(crate) fn enter(&mut self, who: W) -> (Ticket, bool) {
        let ticket = self.next;
        self.next = Ticket(ticket.0 + 1);
        let is_free = self.taken < self.places;
        if is_free {
            self.taken += 1;
        } else {
            self.queue.insert(ticket, who);
        }
        (ticket, is_free)
    }

    /// Gives up a place, or one in the queue. Returns who has a place now for that.
    pub(crate) fn leave(&mut self, ticket: Ticket) -> Option<(Ticket, W)> {
        if self.queue.remove(&ticket).is_some() {
            return None;
        }
        let next = self.queue.pop_first();
        if next.is_none() {
            self.taken -= 1;
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn limit(places: usize, spread: Duration) -> StartLimit<&'static str> {
        StartLimit::new(places, spread)
    }

    #[test]
    fn places_are_given_in_the_order_they_are_asked_for() {
        let mut limit = limit(2, Duration::ZERO);
        let (a, is_free) = limit.enter("a");
        assert!(is_free);
        let (b, is_free) = limit.enter("b");
        assert!(is_free);
        let (c, is_free) = limit.enter("c");
        assert!(!is_free);
        let (d, is_free) = limit.enter("d");
        assert!(!is_free);
        assert_eq!(limit.leave(b), Some((c, "c")));
        assert_eq!(limit.leave(a), Some((d, "d")));
        assert_eq!(limit.leave(c), None);
        let (_, is_free) = limit.enter("e");
        assert!(is_free);
        let (_, is_free) = limit.enter("f");
        assert!(!is_free, "d is still there");
    }

    #[test]
    fn who_leaves_the_queue_takes_nobodys_place() {
        let mut limit = limit(1, Duration::ZERO);
        let (a, _) = limit.enter("a");
        let (b, _) = limit.enter("b");
        let (c, _) = limit.enter("c");
        assert_eq!(limit.leave(b), None);
        assert_eq!(limit.leave(a), Some((c, "c")));
        assert_eq!(limit.leave(c), None);
        assert!(limit.enter("d").1);
    }

    #[test]
    fn a_limit_without_places_is_closed() {
        assert!(limit(0, Duration::ZERO).is_closed());
        assert!(!limit(1, Duration::ZERO).is_closed());
    }

    #[test]
    fn turns_are_apart_and_a_pause_is_not_made_up_for() {
        let t0 = crate::clock::now();
        let mut limit = limit(1, S);
        assert_eq!(limit.take_turn(t0), Turn::Go);
        assert_eq!(limit.take_turn(t0), Turn::At(t0 + S));
        assert_eq!(limit.take_turn(t0), Turn::At(t0 + 2 * S));
        assert_eq!(limit.take_turn(t0 + S / 2), Turn::At(t0 + 3 * S));
        assert_eq!(limit.take_turn(t0 + 9 * S), Turn::Go);
        assert_eq!(limit.take_turn(t0 + 9 * S), Turn::At(t0 + 10 * S));
    }

    #[test]
    fn a_turn_that_is_given_back_goes_to_the_next_who_asks() {
        let t0 = crate::clock::now();
        let mut limit = limit(1, S);
        let turns: Vec<_> = (0..4).map(|_| limit.take_turn(t0)).collect();
        assert_eq!(turns[3], Turn::At(t0 + 3 * S));
        limit.give_back(t0 + 2 * S, t0);
        limit.give_back(t0 + S, t0);
        assert_eq!(limit.take_turn(t0), Turn::At(t0 + S));
        assert_eq!(limit.take_turn(t0 + 2 * S), Turn::Go);
        assert_eq!(limit.take_turn(t0 + 2 * S), Turn::At(t0 + 4 * S));
        limit.give_back(t0 + 4 * S, t0 + 5 * S);
        assert_eq!(limit.take_turn(t0 + 5 * S), Turn::Go, "it is over");
        assert_eq!(limit.take_turn(t0 + 5 * S), Turn::At(t0 + 6 * S));
    }

    #[test]
    fn a_turn_that_has_come_is_not_given_back() {
        let t0 = crate::clock::now();
        let mut limit = limit(1, S);
        assert_eq!(limit.take_turn(t0), Turn::Go);
        assert_eq!(limit.take_turn(t0), Turn::At(t0 + S));
        limit.give_back(t0 + S, t0 + S);
        assert_eq!(limit.take_turn(t0 + S), Turn::At(t0 + 2 * S));
    }

    #[test]
    fn a_spread_beyond_the_end_of_time_is_as_good_as_never() {
        let t0 = crate::clock::now();
        let mut limit = limit(1, Duration::MAX);
        assert_eq!(limit.take_turn(t0), Turn::Go);
        for _ in 0..3 {
            let turn = limit.take_turn(t0);
            let years_from_now = t0 + 50 * 365 * 24 * 60 * 60 * S;
            assert!(
                matches!(turn, Turn::At(at) if at > years_from_now),
                "{turn:?}"
            );
        }
    }

    #[test]
    fn without_a_spread_it_is_always_everybodys_turn() {
        let t0 = crate::clock::now();
        let mut limit = limit(1, Duration::ZERO);
        for _ in 0..3 {
            assert_eq!(limit.take_turn(t0), Turn::Go);
        }
    }
}
