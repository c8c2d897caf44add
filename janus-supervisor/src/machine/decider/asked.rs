//! What whoever drives it asks of it.

use super::{Decider, Retries};
use crate::clock;
use crate::machine::protocol::{Checks, Command, Ended, Input, Permit, Readiness, Step, Turn};
use janus_backoff::BackoffConfig;
use janus_lifecycle::{Exit, Failure, FailureKind, RestartPolicy, ServiceLifecycle};
use std::time::{Duration, Instant};

const S: Duration = Duration::from_secs(1);

struct Asked {
    life: ServiceLifecycle,
    decider: Decider,
}

impl Asked {
    fn new(t0: Instant) -> Self {
        let config = BackoffConfig::new(Duration::ZERO, Duration::ZERO);
        Self {
            life: ServiceLifecycle::new(t0, "it"),
            decider: Decider::new(t0, Retries::new(config.into(), 7), 30 * S),
        }
    }

    fn tell(&mut self, now: Instant, input: Input) -> Command {
        let mut step = Step::new(false);
        let told = self.decider.decide(&mut self.life, now, input, &mut step);
        told.expect("the table has every move");
        step.command
    }

    fn stop(&mut self, now: Instant) -> Command {
        self.tell(now, Input::Stop { latest: None })
    }

    fn fail(&mut self, now: Instant) -> Command {
        let exit = Exit::Failed(Failure::new(FailureKind::Error, "broken"));
        let ended = Ended::judge(RestartPolicy::OnFailure, exit);
        self.tell(now, Input::Exited(ended))
    }
}

#[test]
fn whether_it_is_put_off_until_its_turn() {
    let (t0, mut it) = (clock::now(), Asked::new(clock::now()));
    it.decider.limit();
    assert_eq!(it.tell(t0, Input::Start), Command::Ask { spread: false });
    let _wait = it.tell(t0, Input::Turn(Turn::At(t0 + S)));
    assert!(!it.decider.is_put_off(), "before the first run");
    it.decider = Asked::new(t0).decider;
    it.decider.limit();
    it.life = ServiceLifecycle::new(t0, "it");
    let _ask = it.tell(t0, Input::Start);
    assert_eq!(it.tell(t0, Input::Turn(Turn::Go)), Command::Run);
    let _wait = it.fail(t0);
    assert!(!it.decider.is_put_off());
    assert_eq!(it.tell(t0, Input::Tick), Command::Ask { spread: true });
    let _wait = it.tell(t0, Input::Turn(Turn::At(t0 + S)));
    assert!(it.decider.is_put_off());
}

#[test]
fn since_when_there_is_something_to_do() {
    let (t0, mut it) = (clock::now(), Asked::new(clock::now()));
    it.decider.check(Checks {
        readiness: Readiness::Notify,
        start_timeout: Some(S),
        ..Checks::default()
    });
    assert_eq!(it.decider.due(), None);
    assert_eq!(it.tell(t0, Input::Start), Command::Run);
    assert_eq!(it.decider.due(), Some(t0 + S));
    let failed = it.tell(t0 + 2 * S, Input::Tick);
    assert_eq!(failed, Command::Fail(FailureKind::StartTimeout));
    assert_eq!(it.decider.deadline(), None);
    assert_eq!(it.decider.due(), Some(t0 + 2 * S));
    // It is no nearer to its end for being told to stop.
    assert_eq!(it.stop(t0 + 3 * S), Command::Wait);
    assert_eq!(it.decider.due(), Some(t0 + 2 * S));
    assert_eq!(it.tell(t0 + 4 * S, Input::Gone), Command::Finish);
    assert_eq!(it.decider.due(), None);
}

#[test]
fn since_when_a_run_that_was_dropped_is_to_be_gone() {
    let (t0, mut it) = (clock::now(), Asked::new(clock::now()));
    assert_eq!(it.tell(t0, Input::Start), Command::Run);
    assert_eq!(it.stop(t0 + S), Command::Stop);
    assert_eq!(it.decider.due(), Some(t0 + 31 * S));
    assert_eq!(it.tell(t0 + 31 * S, Input::Tick), Command::Abort);
    assert_eq!(it.decider.deadline(), None);
    assert_eq!(it.decider.due(), Some(t0 + 31 * S));
}

#[test]
fn whether_it_has_backed_off_and_whether_all_is_over() {
    let (t0, mut it) = (clock::now(), Asked::new(clock::now()));
    assert_eq!(it.tell(t0, Input::Start), Command::Run);
    assert!(!it.decider.has_backed_off());
    let _wait = it.fail(t0);
    assert!(it.decider.has_backed_off());
    assert!(!it.decider.is_finished());
    let stop = Input::Stop { latest: None };
    assert_eq!(it.tell(t0, stop), Command::Finish);
    assert!(it.decider.is_finished());
}

#[test]
fn which_permits_it_knows_of() {
    let (t0, mut it) = (clock::now(), Asked::new(clock::now()));
    it.decider.close();
    assert_eq!(it.tell(t0, Input::Start), Command::Wait);
    let permit = Permit { go: 1, halt: 0 };
    assert_eq!(it.tell(t0, Input::Permit(permit)), Command::Run);
    assert_eq!(it.decider.permit(), permit);
}

/// Two threads' clocks may differ by a little.
#[test]
fn a_restart_by_hand_is_at_once_whatever_the_clock_says() {
    let (t0, mut it) = (clock::now(), Asked::new(clock::now()));
    assert_eq!(it.tell(t0, Input::Start), Command::Run);
    let _wait = it.fail(t0 + S);
    assert_eq!(it.tell(t0, Input::Restart), Command::Run);
    assert!(
        !it.decider.has_extras(),
        "no short cut is open to one that has"
    );
}
