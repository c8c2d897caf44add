//! What happens to a service, told without a supervisor.

use janus_lifecycle::{
    EventKind, Failure, FailureKind, Observer, RunOutcome, ServiceEvent, TerminationReason,
};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Tells observers what happens to one service, with the right numbers. Each method is one event, or those that belong
/// together.
pub(crate) struct Told<'a> {
    observers: Vec<&'a dyn Observer>,
    id: u64,
    name: Arc<str>,
    run: u32,
    seq: u64,
    at: Instant,
}

impl<'a> Told<'a> {
    pub(crate) fn new(observers: &[&'a dyn Observer], id: u64, name: &str) -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "some instant; nobody looks at it"
        )]
        let at = Instant::now();
        Self {
            observers: observers.to_vec(),
            id,
            name: name.into(),
            run: 1,
            seq: 0,
            at,
        }
    }

    pub(crate) fn tell(&mut self, kind: EventKind) -> &mut Self {
        if matches!(kind, EventKind::Restarting) {
            self.run += 1;
        }
        let name = Arc::clone(&self.name);
        let event = ServiceEvent::new(self.id, name, self.run, self.seq, self.at, kind);
        self.seq += 1;
        for observer in &self.observers {
            observer.observe(&event);
        }
        self
    }

    pub(crate) fn registered(&mut self) -> &mut Self {
        self.tell(EventKind::Registered)
    }

    pub(crate) fn running(&mut self) -> &mut Self {
        self.tell(EventKind::Running)
    }

    pub(crate) fn ended(&mut self, outcome: RunOutcome, after: Duration) -> &mut Self {
        let ran_for = after;
        self.tell(EventKind::RunEnded { outcome, ran_for })
    }

    pub(crate) fn failed(&mut self, kind: FailureKind, after: Duration) -> &mut Self {
        self.ended(RunOutcome::Failed(Failure::new(kind, "no route")), after)
    }

    /// Waits, and runs again.
    pub(crate) fn restarted(&mut self, delay: Duration) -> &mut Self {
        let attempt = self.run;
        self.tell(EventKind::BackingOff { attempt, delay })
            .tell(EventKind::Restarting)
            .running()
    }

    pub(crate) fn tripped(&mut self, failures: u32) -> &mut Self {
        let max_retries = failures;
        self.tell(EventKind::BreakerOpened {
            failures,
            max_retries,
        })
        .terminated(TerminationReason::CircuitBreakerOpen {
            failures,
            max_retries,
        })
    }

    /// Asked to stop, and does so after `after`.
    pub(crate) fn stopped(&mut self, after: Duration) -> &mut Self {
        self.tell(EventKind::Stopping)
            .ended(RunOutcome::Cancelled(None), after)
            .terminated(TerminationReason::Cancelled)
    }

    pub(crate) fn terminated(&mut self, reason: TerminationReason) -> &mut Self {
        self.tell(EventKind::Terminated { reason })
    }
}

pub(crate) const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

pub(crate) const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Each kind of failure, each reason to end, each phase, and a restart after a clean exit.
pub(crate) fn one_of_everything(observers: &[&dyn Observer]) {
    use FailureKind::{Error, Hang, Panic, StartTimeout};
    let service = |id, name| Told::new(observers, id, name);

    service(0, "new").registered();
    let mut feed = service(1, "feed");
    feed.registered().running();
    feed.failed(Error, ms(2)).restarted(ms(100));
    feed.failed(Panic, ms(20)).restarted(ms(200));
    feed.failed(StartTimeout, secs(2)).restarted(ms(400));
    feed.failed(Hang, secs(20)).restarted(ms(800));
    feed.ended(RunOutcome::Completed, secs(7_200))
        .restarted(ms(100));
    feed.tell(EventKind::Recovered);

    service(2, "waits")
        .registered()
        .running()
        .failed(Error, ms(0))
        .tell(EventKind::BackingOff {
            attempt: 1,
            delay: ms(0),
        });
    service(3, "stopping")
        .registered()
        .running()
        .tell(EventKind::Stopping);
    service(4, "cancelled")
        .registered()
        .running()
        .stopped(secs(100_000));
    service(5, "completed")
        .registered()
        .running()
        .ended(RunOutcome::Completed, secs(1))
        .terminated(TerminationReason::Completed);
    let mut tripped = service(6, "tripped");
    tripped.registered().running();
    tripped.failed(Error, ms(1)).restarted(ms(1));
    tripped.failed(Panic, ms(1)).tripped(2);
    service(7, "broken")
        .registered()
        .running()
        .failed(Error, ms(3))
        .terminated(TerminationReason::Unrecoverable("no such file".into()));
    service(8, "stubborn")
        .registered()
        .running()
        .tell(EventKind::Stopping)
        .ended(RunOutcome::Aborted, secs(30))
        .terminated(TerminationReason::Aborted);
}
