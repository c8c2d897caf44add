//! [`Decider::again`] is a short cut, and must lead where the long way does.

use super::{Again, Decider, Retries};
use crate::machine::Tally;
use crate::machine::protocol::{Command, Ended, Input, Step};
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
        let mut service = Self {
            life: ServiceLifecycle::new(t0, "it"),
            decider: Decider::new(t0, retries, Duration::from_secs(30)),
        };
        let begun = service.tell(t0, Input::Start);
        assert_eq!(begun.command, Command::Run);
        service
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

    /// After each failure one service is asked whether it goes on at once, and the other goes the long way; then both wait for what is
    /// due. They tell the same, and are the same.
    #[test]
    fn the_short_cut_leads_where_the_long_way_does(
        config in any_config(),
        runs in proptest::collection::vec((prop_oneof![Just(0_u64), 1..60_u64], any::<bool>()), 1..40),
    ) {
        let t0 = crate::clock::now();
        let config = Arc::new(config);
        let (mut short, mut long) = (Service::new(t0, &config), Service::new(t0, &config));
        let mut now = t0;
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
                .again(&mut short.life, now, failure(), Some(&mut short_cut))
                .expect("the table has every move");
            let mut the_long_way = long.fail(now);
            if let Again::Begins { .. } = again {
                prop_assert_eq!(long.decider.deadline(), Some(now));
                let next = long.tell(now, Input::Tick);
                prop_assert_eq!((short_cut.command, next.command), (Command::Run, Command::Run));
                the_long_way.happened.extend(next.happened);
                prop_assert_eq!(short_cut.tally, Tally::AGAIN);
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
            while let Some(due) = long.decider.deadline().filter(|_| !is_up(&long)) {
                now = now.max(due);
                for service in [&mut short, &mut long] {
                    let next = service.tell(now, Input::Tick);
                    prop_assert_eq!(next.command, Command::Run);
                }
            }
        }
    }
}

fn is_up(service: &Service) -> bool {
    service.life.phase() == janus_lifecycle::ServicePhase::Running
}
