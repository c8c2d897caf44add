//! Random configurations, valid or not, and random histories, against naive models.
//!
//! The numbers are those of the invariants in the crate's `state` module.

use janus_backoff::{
    BackoffAction, BackoffConfig, BackoffState, ConfigError, Jitter, SlidingWindow,
};
use proptest::prelude::*;
use std::time::{Duration, Instant};

const MS: Duration = Duration::from_millis(1);

#[expect(
    clippy::disallowed_methods,
    reason = "a test needs one instant to count from"
)]
fn t0() -> Instant {
    Instant::now()
}

/// Every event so far, for ever. A time before the last event counts as that event's.
#[derive(Debug, Clone, Default)]
struct NaiveWindow(Vec<Duration>);

impl NaiveWindow {
    fn clamped(&self, now: Duration) -> Duration {
        self.0.last().map_or(now, |last| now.max(*last))
    }

    fn record(&mut self, now: Duration) {
        let now = self.clamped(now);
        self.0.push(now);
    }

    fn count(&self, now: Duration, period: Duration) -> u32 {
        let now = self.clamped(now);
        let inside = self.0.iter().filter(|event| now - **event <= period);
        inside.map(|_| 1).sum()
    }
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Start,
    Fail,
    CleanExit,
    LookForCooldown,
    Reset,
}

/// What a state should know, counted naively.
#[derive(Debug, Clone, Default)]
struct Model {
    attempt: u32,
    failures: NaiveWindow,
    started: Option<Duration>,
    /// The last delay, for decorrelated jitter.
    previous: Option<Duration>,
}

impl Model {
    fn set_back(&mut self) {
        self.attempt = 0;
        self.previous = None;
    }

    fn reset(&mut self) {
        self.set_back();
        self.failures = NaiveWindow::default();
    }

    fn is_clear(&self, config: &BackoffConfig) -> bool {
        self.attempt == 0 && (config.max_retries == 0 || self.failures.0.is_empty())
    }

    fn cooldown_is_over(&self, config: &BackoffConfig, now: Duration) -> bool {
        let lasted = self.started.and_then(|started| now.checked_sub(started));
        !self.is_clear(config) && lasted >= Some(config.cooldown_period)
    }
}

/// Invariants 1 and 2, and what each jitter promises (behaviour B14).
fn check_delay(
    config: &BackoffConfig,
    model: &Model,
    delay: Duration,
) -> Result<(), TestCaseError> {
    let attempt = model.attempt;
    let ceiling = config.preview(attempt).last().copied().unwrap_or_default();
    prop_assert!(delay <= config.max_delay, "invariant 1: {delay:?}");
    prop_assert!(
        delay <= ceiling,
        "invariant 1: {delay:?} above {ceiling:?}, attempt {attempt}"
    );

    let initial = config.initial_delay.filter(|_| attempt == 1);
    let least = MS
        .min(config.base_delay)
        .min(config.max_delay)
        .min(initial.unwrap_or(Duration::MAX));
    prop_assert!(delay >= least, "invariant 2: {delay:?} below {least:?}");

    match config.jitter {
        Jitter::None => prop_assert_eq!(delay, ceiling),
        Jitter::Full => {}
        Jitter::Equal => prop_assert!(delay >= ceiling / 2),
        Jitter::Decorrelated => {
            prop_assert!(delay >= config.base_delay.min(ceiling));
            if let Some(previous) = model.previous {
                let grown = previous.max(config.base_delay).saturating_mul(3);
                prop_assert!(delay <= grown);
            }
        }
    }
    Ok(())
}

fn check_history(
    config: &BackoffConfig,
    seed: u64,
    steps: &[(Duration, Step)],
) -> Result<(), TestCaseError> {
    let t0 = t0();
    let mut state = BackoffState::new(config.clone(), seed);
    let mut twin = BackoffState::new(config.clone(), seed);
    let mut model = Model::default();
    let (max_retries, window) = (config.max_retries, config.circuit_breaker_window);
    for &(now, step) in steps {
        let at = t0 + now;
        match step {
            Step::Start => {
                state.record_start(at);
                twin.record_start(at);
                model.started = Some(now);
            }
            Step::Fail => {
                let action = state.next_backoff(at);
                prop_assert_eq!(action, twin.next_backoff(at), "invariant 5");
                model.attempt += 1;
                model.failures.record(now);
                model.started = None;
                let failures = model.failures.count(now, window);
                match action {
                    BackoffAction::Retry(delay) => {
                        let closed = max_retries == 0 || failures < max_retries;
                        prop_assert!(closed, "invariant 3: {failures} failures");
                        check_delay(config, &model, delay)?;
                        model.previous = Some(delay);
                    }
                    BackoffAction::CircuitOpen {
                        failures: seen,
                        max_retries: limit,
                    } => {
                        let due = max_retries > 0 && failures >= max_retries;
                        prop_assert!(due, "invariant 3: {failures} failures");
                        prop_assert_eq!((seen, limit), (max_retries, max_retries));
                    }
                }
            }
            Step::CleanExit => {
                prop_assert_eq!(state.record_clean_exit(), config.base_delay);
                twin.record_clean_exit();
                model.set_back();
                model.started = None;
            }
            // The cooldown is about a run in progress: it is asked for during one only.
            Step::LookForCooldown if model.started.is_some() => {
                let expected = model.cooldown_is_over(config, now);
                prop_assert_eq!(state.maybe_reset_on_cooldown(at), expected);
                prop_assert_eq!(twin.maybe_reset_on_cooldown(at), expected);
                if expected {
                    model.reset();
                }
            }
            Step::LookForCooldown => {}
            Step::Reset => {
                state.reset();
                twin.reset();
                model.reset();
            }
        }
        prop_assert_eq!(state.attempt(), model.attempt);
        let expected = model.failures.count(now, window).min(max_retries);
        prop_assert_eq!(state.recent_failures(at), expected, "invariant 3");
        // No failure is older than the origin, so this counts all that are remembered.
        prop_assert!(state.recent_failures(t0) <= max_retries, "invariant 4");
    }
    Ok(())
}

/// From nothing to for ever, with a liking for the edges.
fn any_duration() -> impl Strategy<Value = Duration> {
    prop_oneof![
        1 => Just(Duration::ZERO),
        1 => Just(Duration::MAX),
        1 => (1..10_u64).prop_map(Duration::from_nanos),
        2 => (1..2_000_u64).prop_map(Duration::from_micros),
        4 => (1..100_000_u64).prop_map(Duration::from_millis),
        1 => (any::<u64>(), 0..1_000_000_000_u32).prop_map(|(secs, nanos)| Duration::new(secs, nanos)),
    ]
}

fn any_jitter() -> impl Strategy<Value = Jitter> {
    prop::sample::select(
        [
            Jitter::None,
            Jitter::Full,
            Jitter::Equal,
            Jitter::Decorrelated,
        ]
        .as_slice(),
    )
}

/// Any configuration, whether [`BackoffConfig::validate`] likes it or not.
fn any_config() -> impl Strategy<Value = BackoffConfig> {
    let max_retries =
        prop_oneof![4 => 0..6_u32, 2 => 6..200_u32, 1 => Just(u32::MAX), 1 => any::<u32>()];
    (
        (
            any_duration(),
            any_duration(),
            any_duration(),
            any_duration(),
        ),
        max_retries,
        any_jitter(),
        prop::option::weighted(0.3, any_duration()),
    )
        .prop_map(
            |((base, max, cooldown, window), max_retries, jitter, initial_delay)| BackoffConfig {
                initial_delay,
                ..BackoffConfig::new(base, max)
                    .with_cooldown(cooldown)
                    .with_circuit_breaker(max_retries, window)
                    .with_jitter(jitter)
            },
        )
}

/// Times in no order: a clock that jumps to and fro, often by as much as a window or a cooldown lasts.
fn time() -> impl Strategy<Value = Duration> {
    prop_oneof![
        (0..20_u64).prop_map(Duration::from_nanos),
        (0..4_000_u64).prop_map(Duration::from_micros),
        (0..200_000_u64).prop_map(Duration::from_millis),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => Just(Step::Start),
        6 => Just(Step::Fail),
        1 => Just(Step::CleanExit),
        3 => Just(Step::LookForCooldown),
        1 => Just(Step::Reset),
    ]
}

fn in_order(mut steps: Vec<(Duration, Step)>) -> Vec<(Duration, Step)> {
    steps.sort_by_key(|(now, _)| *now);
    steps
}

proptest! {
    /// Invariants 1 to 5 on a clock that jumps (behaviours B12, B13 and B22).
    #[test]
    fn any_history_of_any_configuration(
        config in any_config(),
        seed in any::<u64>(),
        steps in prop::collection::vec((time(), step()), 0..80),
    ) {
        check_history(&config, seed, &steps)?;
    }

    /// The same on a clock as it should be.
    #[test]
    fn any_orderly_history_of_any_configuration(
        config in any_config(),
        seed in any::<u64>(),
        steps in prop::collection::vec((time(), step()), 0..80).prop_map(in_order),
    ) {
        check_history(&config, seed, &steps)?;
    }

    /// Invariant 1: from the second on ceilings never fall, and the first falls short only where it was told to.
    #[test]
    fn ceilings_never_fall(config in any_config(), n in 0..300_u32) {
        let ceilings = config.preview(n);
        prop_assert_eq!(u32::try_from(ceilings.len()), Ok(n));
        prop_assert!(ceilings.iter().skip(1).is_sorted());
        prop_assert!(config.initial_delay.is_some() || ceilings.is_sorted());
        prop_assert!(ceilings.iter().all(|ceiling| *ceiling <= config.max_delay));
    }

    /// A window says what a list of all events says, as far as its limit.
    #[test]
    fn a_window_is_the_list_of_all_events(
        period in any_duration(),
        limit in prop_oneof![0..8_u32, any::<u32>()],
        calls in prop::collection::vec((time(), prop::bool::weighted(0.7), prop::bool::weighted(0.05)), 0..100),
    ) {
        let t0 = t0();
        let (mut window, mut naive) = (SlidingWindow::new(), NaiveWindow::default());
        for (now, records, clears) in calls {
            if clears {
                window.clear();
                naive = NaiveWindow::default();
            }
            if records {
                let answer = window.record(t0 + now, period, limit);
                if limit > 0 {
                    naive.record(now);
                }
                prop_assert_eq!(answer, naive.count(now, period).min(limit));
            }
            prop_assert_eq!(window.count(t0 + now, period), naive.count(now, period).min(limit));
            prop_assert_eq!(window.is_empty(), naive.0.is_empty());
            prop_assert!(window.count(t0, Duration::MAX) <= limit, "invariant 4");
        }
    }

    /// `validate` foretells what a crash loop comes to that only ever waits for its delays.
    #[test]
    fn a_breaker_that_passes_validation_opens_and_one_that_does_not_never_does(
        base in (0..2_000_u64).prop_map(Duration::from_millis),
        max in (2_000..100_000_u64).prop_map(Duration::from_millis),
        initial in prop::option::of((0..2_000_u64).prop_map(Duration::from_millis)),
        max_retries in 1..40_u32,
        window in (1..1_000_000_u64).prop_map(Duration::from_millis),
        jitter in any_jitter().prop_filter("short draws have no bound", |jitter| *jitter != Jitter::Full),
        seed in any::<u64>(),
    ) {
        let config = BackoffConfig {
            initial_delay: initial,
            ..BackoffConfig::new(base, max)
                .with_circuit_breaker(max_retries, window)
                .with_jitter(jitter)
        };
        let valid = match config.validate() {
            Ok(()) => true,
            Err(ConfigError::BreakerNeverOpens { delays, .. }) => {
                let ceilings: Duration = config.preview(max_retries - 1).iter().sum();
                prop_assert_eq!(delays, ceilings);
                false
            }
            Err(other) => return Err(TestCaseError::fail(other.to_string())),
        };
        let (mut now, mut state) = (t0(), BackoffState::new(config, seed));
        let opened = (0..3 * max_retries).any(|_| match state.next_backoff(now) {
            BackoffAction::Retry(delay) => {
                now += delay;
                false
            }
            BackoffAction::CircuitOpen { .. } => true,
        });
        prop_assert!(valid || !opened, "opened all the same");
        prop_assert!(!valid || opened || jitter != Jitter::None, "never opened");
    }
}
