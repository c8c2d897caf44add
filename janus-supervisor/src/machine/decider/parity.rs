//! The short cuts must lead where the long way does.

use super::{Decider, Retries, Shortcut};
use crate::machine::protocol::{Command, Ended, Input, Step, Turn};
use crate::machine::tally::Tally;
use janus_backoff::{BackoffConfig, Jitter};
use janus_lifecycle::{Exit, Failure, FailureKind, RestartPolicy, ServiceLifecycle};
use proptest::prelude::*;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A service, whichever way its failures go.
struct Service {
    life: ServiceLifecycle,
    decider: Decider,
}

impl Service {
    fn new(t0: Instant, config: &Arc<BackoffConfig>) -> Self {
        let retries = Retries::new(Arc::clone(config), 7);
        Self {
            life: ServiceLifecycle::new(t0, "it"),
            decider: Decider::new(t0, retries, Duration::from_secs(30)),
        }
    }

    fn tell(&mut self, now: Instant, input: Input) -> Step {
        let mut step = Step::new(true);
        let told = self.decider.decide(&mut self.life, now, input, &mut step);
        told.expect("the table has every move");
        step
    }

    fn fail(&mut self, now: Instant) -> Step {
        let exit = Exit::Failed(failure());
        self.tell(
            now,
            Input::Exited(Ended::judge(RestartPolicy::OnFailure, exit)),
        )
    }

    fn begin(&mut self, now: Instant) -> bool {
        let begun = self.decider.begin(&mut self.life, now);
        matches!(
            begun.expect("the table has every move"),
            Shortcut::Taken(())
        )
    }

    fn finish(&mut self, now: Instant, exit: Exit) -> Shortcut<Option<Failure>, Exit> {
        let finished = self.decider.finish(&mut self.life, now, exit);
        finished.expect("the table has every move")
    }

    /// What can be seen of it. (What its window still remembers and no longer counts is nobody's business.)
    fn shown(&self, now: Instant) -> String {
        let backoff = self.decider.retries.tried();
        let backoff = backoff.map(|it| (it.attempt(), it.trial_after(), it.recent_failures(now)));
        let (life, due) = (&self.life, self.decider.deadline());
        format!("{life:?} {:?} {due:?} {backoff:?}", self.decider.state)
    }
}

fn failure() -> Failure {
    Failure::new(FailureKind::Error, "broken")
}

fn any_config() -> impl Strategy<Value = BackoffConfig> {
    let delay = prop_oneof![Just(0_u64), Just(1), Just(50)].prop_map(Duration::from_millis);
    let jitter = prop_oneof![
        Just(Jitter::None),
        Just(Jitter::Full),
        Just(Jitter::Equal),
        Just(Jitter::Decorrelated)
    ];
    let half_open = proptest::option::of(Just(Duration::from_millis(20)));
    let first = proptest::option::of(Just(Duration::ZERO));
    (delay, jitter, 0_u32..9, half_open, first).prop_map(
        |(base, jitter, limit, half_open, first)| {
            let mut config = BackoffConfig::new(base, Duration::from_millis(100))
                .with_jitter(jitter)
                .with_cooldown(Duration::from_millis(40))
                .with_circuit_breaker(limit, Duration::from_millis(30));
            config.half_open_after = half_open;
            config.initial_delay = first;
            config
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// One service begins, goes on after each failure and ends by a short cut, where it is open, and the other goes the
    /// long way; between two failures both wait for what is due. They tell the same, and are the same.
    #[test]
    fn the_short_cuts_lead_where_the_long_way_does(
        config in any_config(),
        starts_after in 0..60_u64,
        runs in proptest::collection::vec((prop_oneof![Just(0_u64), 1..60_u64], any::<bool>()), 0..40),
        (last_run, last, leaves_no_time) in (0..60_u64, 0..3_u8, any::<bool>()),
    ) {
        let t0 = crate::clock::now();
        let config = Arc::new(config);
        let (mut short, mut long) = (Service::new(t0, &config), Service::new(t0, &config));
        let mut now = t0 + Duration::from_millis(starts_after);
        prop_assert!(short.begin(now));
        let begun = long.tell(now, Input::Start);
        prop_assert_eq!((begun.command, begun.tally), (Command::Run, Decider::BEGIN));
        prop_assert_eq!(short.shown(now), long.shown(now));
        prop_assert!(!short.begin(now));
        for (ran_for, hears_of_time) in runs {
            now += Duration::from_millis(ran_for);
            if hears_of_time {
                // It may have lasted long enough to be forgiven.
                for service in [&mut short, &mut long] {
                    let told = service.tell(now, Input::Tick);
                    prop_assert_ne!(told.command, Command::Run);
                }
            }
            let mut short_cut = Step::new(true);
            let again = short
                .decider
                .again(&mut short.life, now, FailureKind::Error, "broken".into(), Some(&mut short_cut))
                .expect("the table has every move");
            let mut the_long_way = long.fail(now);
            if let Shortcut::Taken(_) = again {
                prop_assert_eq!(long.decider.deadline(), Some(now));
                let next = long.tell(now, Input::Tick);
                prop_assert_eq!((short_cut.command, next.command), (Command::Run, Command::Run));
                the_long_way.happened.extend(next.happened);
                prop_assert_eq!(short_cut.tally, Decider::AGAIN);
            } else {
                prop_assert!(short_cut.happened.is_empty());
                short_cut = short.fail(now);
                prop_assert_eq!(short_cut.tally, the_long_way.tally);
            }
            prop_assert_eq!(
                format!("{:?}", short_cut.happened),
                format!("{:?}", the_long_way.happened)
            );
            prop_assert_eq!(short.shown(now), long.shown(now));
            if !is_up(&long) {
                let closed = short.finish(now, Exit::Clean);
                prop_assert!(matches!(closed, Shortcut::Closed(Exit::Clean)));
            }
            while let Some(due) = long.decider.deadline().filter(|_| !is_up(&long)) {
                now = now.max(due);
                for service in [&mut short, &mut long] {
                    let next = service.tell(now, Input::Tick);
                    prop_assert_eq!(next.command, Command::Run);
                }
            }
        }
        if !is_up(&long) {
            return Ok(()); // its breaker has terminated it
        }
        now += Duration::from_millis(last_run);
        let exit = match last {
            0 => Exit::Clean,
            1 => Exit::Failed(failure()),
            _ => Exit::Permanent(failure()),
        };
        let latest = leaves_no_time.then_some(now);
        let the_long_way = long.tell(now, Input::Stop { latest });
        let ended = Ended::judge(RestartPolicy::OnFailure, exit.clone());
        let ended = long.tell(now, Input::Exited(ended));
        let events = the_long_way.tally.events + ended.tally.events;
        prop_assert_eq!(Tally { events, ..ended.tally }, Decider::FINISH);
        prop_assert_eq!(the_long_way.tally, Tally { events: the_long_way.tally.events, ..Tally::none() });
        let Shortcut::Taken(displaced) = short.finish(now, exit) else {
            return Err(TestCaseError::fail("the short cut is closed"));
        };
        prop_assert_eq!(displaced.is_some(), ended.displaced.is_some());
        prop_assert_eq!(short.shown(now), long.shown(now));
    }
}

#[test]
fn who_has_to_ask_or_to_show_anything_goes_the_long_way() {
    let t0 = crate::clock::now();
    let config = Arc::new(BackoffConfig::new(Duration::ZERO, Duration::ZERO));
    let mut service = Service::new(t0, &config);
    service.decider.limit();
    assert!(!service.begin(t0));
    let asks = service.tell(t0, Input::Start);
    assert_eq!(asks.command, Command::Ask { spread: false });
    let begun = service.tell(t0, Input::Turn(Turn::Go));
    assert_eq!(begun.command, Command::Run);
    let finish = service.finish(t0, Exit::Clean);
    assert!(matches!(finish, Shortcut::Closed(Exit::Clean)));
}

fn is_up(service: &Service) -> bool {
    service.life.phase() == janus_lifecycle::ServicePhase::Running
}
