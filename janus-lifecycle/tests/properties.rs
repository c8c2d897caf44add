//! Random histories, legal and illegal calls at any times, against a tiny model.
//!
//! The numbers are those of the invariants in the crate's `lifecycle` module.

use janus_lifecycle::{
    Failure, FailureKind, Retry, ServiceLifecycle, ServicePhase, TerminationReason, TransitionError,
};
use proptest::prelude::*;
use std::time::{Duration, Instant};

use ServicePhase::{BackingOff, Running, Starting, Stopping, Terminated};

/// The legal moves once more, written differently on purpose.
const LEGAL: [(ServicePhase, ServicePhase); 11] = [
    (Starting, Running),
    (Starting, BackingOff),
    (Starting, Stopping),
    (Starting, Terminated),
    (Running, BackingOff),
    (Running, Stopping),
    (Running, Terminated),
    (BackingOff, Starting),
    (BackingOff, Stopping),
    (BackingOff, Terminated),
    (Stopping, Terminated),
];

#[expect(
    clippy::disallowed_methods,
    reason = "a test needs one instant to count from"
)]
fn t0() -> Instant {
    Instant::now()
}

#[derive(Debug, Clone)]
enum Call {
    Run,
    BackOff {
        delay: Duration,
        attempt: u32,
        failure: Option<FailureKind>,
    },
    Restart,
    Stop,
    Terminate(TerminationReason),
    RecordFailure(FailureKind),
    KeepError(FailureKind),
    RecordRecovery,
}

impl Call {
    /// The phase it asks for, if it asks for one.
    fn target(&self) -> Option<ServicePhase> {
        match self {
            Self::Run => Some(Running),
            Self::BackOff { .. } => Some(BackingOff),
            Self::Restart => Some(Starting),
            Self::Stop => Some(Stopping),
            Self::Terminate(_) => Some(Terminated),
            Self::RecordFailure(_) | Self::KeepError(_) | Self::RecordRecovery => None,
        }
    }

    fn make(&self, feed: &mut ServiceLifecycle, now: Instant) -> Result<(), TransitionError> {
        let failure = |kind: FailureKind| Failure::new(kind, kind.as_str());
        match self {
            Self::Run => feed.transition_to_running(now)?,
            Self::BackOff {
                delay,
                attempt,
                failure: kind,
            } => {
                let (at, attempt) = (now + *delay, *attempt);
                feed.transition_to_backing_off(now, Retry { at, attempt }, kind.map(failure))?;
            }
            Self::Restart => feed.transition_to_restarting(now)?,
            Self::Stop => feed.transition_to_stopping(now)?,
            Self::Terminate(reason) => feed.transition_to_terminated(now, reason.clone())?,
            Self::RecordFailure(kind) => {
                feed.record_failure(failure(*kind));
            }
            Self::KeepError(kind) => {
                feed.keep_error(failure(*kind));
            }
            Self::RecordRecovery => feed.record_recovery(),
        }
        Ok(())
    }
}

/// What a lifecycle should know, counted naively. Times are offsets from the origin.
#[derive(Debug, Clone)]
struct Model {
    created: Duration,
    /// Every transition so far: when it counts as made, and the phase it led to.
    moves: Vec<(Duration, ServicePhase)>,
    retry: Option<(Duration, u32)>,
    attempt: u32,
    failures: Vec<FailureKind>,
    last_error: Option<FailureKind>,
    reason: Option<TerminationReason>,
}

impl Model {
    fn new(created: Duration) -> Self {
        Self {
            created,
            moves: vec![(created, Starting)],
            retry: None,
            attempt: 0,
            failures: Vec::new(),
            last_error: None,
            reason: None,
        }
    }

    fn last_move(&self) -> (Duration, ServicePhase) {
        self.moves
            .last()
            .copied()
            .unwrap_or((self.created, Starting))
    }

    /// Invariant 2: no time before the last transition.
    fn clamped(&self, now: Duration) -> Duration {
        now.max(self.last_move().0)
    }

    fn starts(&self) -> usize {
        self.moves
            .iter()
            .filter(|(_, phase)| *phase == Starting)
            .count()
    }

    /// The sum of the stretches between a move to `Running` and the move after it, or `now`.
    fn running_time(&self, now: Duration) -> Duration {
        let ends = self.moves.iter().skip(1).map(|(at, _)| *at);
        self.moves
            .iter()
            .zip(ends.chain([self.clamped(now)]))
            .filter(|((_, phase), _)| *phase == Running)
            .map(|((since, _), until)| until - *since)
            .sum()
    }

    fn age(&self, now: Duration) -> Duration {
        match self.last_move() {
            (ended, Terminated) => ended - self.created,
            _ => self.clamped(now) - self.created,
        }
    }

    fn take(&mut self, now: Duration, call: &Call) -> Result<(), TransitionError> {
        let from = self.last_move().1;
        if let Some(to) = call.target() {
            if !LEGAL.contains(&(from, to)) {
                return Err(TransitionError { from, to });
            }
            self.moves.push((self.clamped(now), to));
            self.retry = None;
        }
        match call {
            Call::Run | Call::Restart | Call::Stop => {}
            Call::BackOff {
                delay,
                attempt,
                failure,
            } => {
                self.retry = Some((now + *delay, *attempt));
                self.attempt = *attempt;
                self.failures.extend(*failure);
                self.last_error = failure.or(self.last_error);
            }
            Call::Terminate(reason) => {
                if *reason == TerminationReason::Completed {
                    self.attempt = 0;
                }
                self.reason = Some(reason.clone());
            }
            Call::RecordFailure(kind) => {
                self.attempt += 1;
                self.retry = self.retry.map(|(at, _)| (at, self.attempt));
                self.failures.push(*kind);
                self.last_error = Some(*kind);
            }
            Call::KeepError(kind) => self.last_error = Some(*kind),
            Call::RecordRecovery => {
                self.attempt = 0;
                self.retry = self.retry.map(|(at, _)| (at, 0));
            }
        }
        Ok(())
    }
}

/// Everything the public accessors say, against the model.
fn check(
    feed: &ServiceLifecycle,
    model: &Model,
    t0: Instant,
    now: Duration,
) -> Result<(), TestCaseError> {
    let (since, phase) = model.last_move();
    let at = t0 + now;
    prop_assert_eq!(feed.phase(), phase, "invariant 1");
    prop_assert_eq!(feed.created_at(), t0 + model.created);
    prop_assert_eq!(feed.phase_since(), t0 + since, "invariant 2");
    let in_phase = now.saturating_sub(since);
    prop_assert_eq!(feed.time_in_current_phase(at), in_phase, "invariant 2");
    prop_assert_eq!(feed.age(at), model.age(now), "invariant 2");
    let running = feed.cumulative_running_time(at);
    prop_assert_eq!(running, model.running_time(now), "invariant 3");
    prop_assert!(running <= feed.age(at), "invariant 3");
    let a_while_later = feed.cumulative_running_time(at + Duration::from_secs(1));
    if phase != Running {
        prop_assert_eq!(running, a_while_later, "invariant 3");
    }
    prop_assert_eq!(
        usize::try_from(feed.start_count()),
        Ok(model.starts()),
        "invariant 4"
    );
    prop_assert_eq!(
        feed.termination_reason(),
        model.reason.as_ref(),
        "invariant 5"
    );
    prop_assert_eq!(
        feed.termination_reason().is_some(),
        phase == Terminated,
        "invariant 5"
    );

    let retry = feed.retry().map(|retry| (retry.at - t0, retry.attempt));
    prop_assert_eq!(retry, model.retry);
    prop_assert_eq!(feed.attempt(), model.attempt);
    for kind in FailureKind::ALL {
        let expected = model.failures.iter().filter(|one| **one == kind).count();
        prop_assert_eq!(usize::try_from(feed.failures().of(kind)), Ok(expected));
    }
    prop_assert_eq!(
        usize::try_from(feed.total_failures()),
        Ok(model.failures.len())
    );
    let last_error = model.last_error.map(|kind| kind.to_string());
    prop_assert_eq!(feed.last_error(), last_error);
    Ok(())
}

fn kind() -> impl Strategy<Value = FailureKind> {
    prop::sample::select(FailureKind::ALL.as_slice())
}

fn reason() -> impl Strategy<Value = TerminationReason> {
    prop_oneof![
        Just(TerminationReason::Completed),
        Just(TerminationReason::Cancelled),
        Just(TerminationReason::Aborted),
        any::<u32>().prop_map(|n| TerminationReason::Unrecoverable(n.to_string())),
    ]
}

/// Rarely a termination, so that most histories are long.
fn call() -> impl Strategy<Value = Call> {
    prop_oneof![
        6 => Just(Call::Run),
        6 => (time(), 0..9_u32, prop::option::of(kind()))
            .prop_map(|(delay, attempt, failure)| Call::BackOff { delay, attempt, failure }),
        6 => Just(Call::Restart),
        1 => Just(Call::Stop),
        1 => reason().prop_map(Call::Terminate),
        1 => kind().prop_map(Call::RecordFailure),
        1 => kind().prop_map(Call::KeepError),
        1 => Just(Call::RecordRecovery),
    ]
}

/// A time from a range so small that histories often repeat one, or from a large one.
fn time() -> impl Strategy<Value = Duration> {
    prop_oneof![
        (0..20_u64).prop_map(Duration::from_secs),
        (0..u64::from(u32::MAX)).prop_map(Duration::from_micros),
    ]
}

proptest! {
    /// Invariants 1 to 5, after every call and for every time, also one that goes backwards (behaviours G79 and B22).
    #[test]
    fn any_history_is_the_models(
        created in time(),
        calls in prop::collection::vec((time(), call()), 0..40),
        probes in prop::array::uniform3(time()),
    ) {
        let t0 = t0();
        let mut feed = ServiceLifecycle::new(t0 + created, "feed");
        let mut model = Model::new(created);
        for (now, call) in calls {
            let before = (feed.snapshot(t0 + now), format!("{feed:?}"));
            let answer = call.make(&mut feed, t0 + now);
            prop_assert_eq!(&answer, &model.take(now, &call), "invariant 1: {:?}", call);
            if answer.is_err() {
                let after = (feed.snapshot(t0 + now), format!("{feed:?}"));
                prop_assert_eq!(before, after, "invariant 1: {:?}", call);
            }
            for probe in probes.into_iter().chain([now]) {
                check(&feed, &model, t0, probe)?;
            }
        }
    }

    /// Invariant 2: whoever looks later sees no less time, whatever the times were.
    #[test]
    fn times_never_shrink(
        calls in prop::collection::vec((time(), call()), 0..40),
        mut looks in prop::array::uniform4(time()),
    ) {
        let t0 = t0();
        let mut feed = ServiceLifecycle::new(t0, "feed");
        for (now, call) in calls {
            // Half of them are refused, and that is as good a case.
            _ = call.make(&mut feed, t0 + now);
        }
        looks.sort_unstable();
        for pair in looks.windows(2) {
            let (earlier, later) = (t0 + pair[0], t0 + pair[1]);
            prop_assert!(feed.age(earlier) <= feed.age(later));
            prop_assert!(feed.time_in_current_phase(earlier) <= feed.time_in_current_phase(later));
            prop_assert!(feed.cumulative_running_time(earlier) <= feed.cumulative_running_time(later));
        }
    }
}
