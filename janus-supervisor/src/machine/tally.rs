//! How much has happened.

use janus_lifecycle::EventKind;

/// How many events of the kinds that are counted over all services.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Tally {
    /// Of any kind.
    pub(crate) events: u8,
    pub(crate) registered: u8,
    pub(crate) restarts: u8,
    pub(crate) breaker_trips: u8,
    pub(crate) terminated: u8,
}

impl Tally {
    pub(crate) const fn none() -> Self {
        Self {
            events: 0,
            registered: 0,
            restarts: 0,
            breaker_trips: 0,
            terminated: 0,
        }
    }

    /// One more.
    #[inline]
    pub(crate) const fn count(&mut self, what: Counted) {
        self.events += 1;
        match what {
            Counted::Registered => self.registered += 1,
            Counted::Restart => self.restarts += 1,
            Counted::BreakerTrip => self.breaker_trips += 1,
            Counted::Termination => self.terminated += 1,
            Counted::Otherwise => {}
        }
    }
}

/// As what an event counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counted {
    Registered,
    Restart,
    BreakerTrip,
    Termination,
    /// As one, and no more.
    Otherwise,
}

impl From<&EventKind> for Counted {
    #[inline]
    fn from(kind: &EventKind) -> Self {
        match kind {
            EventKind::Registered => Self::Registered,
            EventKind::Restarting => Self::Restart,
            EventKind::BreakerOpened { .. } => Self::BreakerTrip,
            EventKind::Terminated { .. } => Self::Termination,
            _ => Self::Otherwise,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use janus_lifecycle::TerminationReason;

    #[test]
    fn each_event_counts_once_and_as_what_it_is() {
        let (failures, max_retries) = (3, 3);
        let opened = EventKind::BreakerOpened {
            failures,
            max_retries,
        };
        let reason = TerminationReason::Completed;
        let kinds = [
            EventKind::Registered,
            EventKind::Running,
            EventKind::Restarting,
            opened,
            EventKind::Terminated { reason },
        ];
        let mut tally = Tally::none();
        for kind in kinds.iter().chain(&kinds) {
            tally.count(kind.into());
        }
        let all = Tally {
            events: 10,
            registered: 2,
            restarts: 2,
            breaker_trips: 2,
            terminated: 2,
        };
        assert_eq!(tally, all);
    }
}
