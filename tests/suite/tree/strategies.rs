//! Who restarts with whom, and when a group gives up.

#![expect(clippy::unwrap_used, reason = "part of a test")]

mod as_service;
mod escalation;
mod giving_up;
mod intensity;
mod invariants;
mod nested;
mod restart_loop;
mod siblings;
mod stop;
mod threads;

use super::*;
use janus_supervisor::{
    BackoffConfig, CancellationToken, EventKind, JanusService, Jitter, RestartPolicy, RunOutcome,
    SpawnOptions, service_fn,
};
use janus_tests::Story;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

const STRATEGIES: [Strategy; 3] = [
    Strategy::OneForOne,
    Strategy::OneForAll,
    Strategy::RestForOne,
];

const PLENTY: Intensity = Intensity::new(1000, secs(3600));

/// A service whose n-th run fails so many milliseconds after it began, unless it is told to stop before. After those,
/// it runs until it is told to stop.
fn failing<const N: usize>(name: &str, after: [u64; N]) -> impl JanusService {
    let runs = AtomicUsize::new(0);
    service_fn(name, move |cancel: CancellationToken| {
        let after = after.get(runs.fetch_add(1, SeqCst)).copied();
        async move {
            let Some(after) = after else {
                cancel.cancelled().await;
                return Ok(());
            };
            tokio::select! {
                biased;
                () = cancel.cancelled() => Ok(()),
                () = tokio::time::sleep(ms(after)) => Err("it broke".into()),
            }
        }
    })
}

/// A group that fails as a whole so many milliseconds after the first of its runs begin, and then goes on.
fn fragile<const N: usize>(name: &str, after: [u64; N]) -> Group {
    Group::new(name)
        .intensity(Intensity::new(0, secs(5)))
        .service(steady("p"))
        .service(failing("q", after))
}

/// A service whose runs from the second on all fail at once. The first runs until it is told to stop.
fn broken_later(name: &str) -> Script {
    Script::new(name, [Turn::until_cancelled(), Turn::Fail("no way")])
}

/// The same delay, always, and no breaker.
fn every(delay: u64) -> BackoffConfig {
    BackoffConfig::new(ms(delay), ms(delay))
        .with_jitter(Jitter::None)
        .without_circuit_breaker()
}

/// A breaker that opens on that many failures.
fn breaker(failures: u32) -> BackoffConfig {
    BackoffConfig::new(ms(100), ms(100))
        .with_jitter(Jitter::None)
        .with_circuit_breaker(failures, secs(3600))
}

fn until(t0: Instant, millis: u64) -> impl Future<Output = ()> {
    tokio::time::sleep_until((t0 + ms(millis)).into())
}

impl Scene {
    /// When runs began and ended, in the order in which it happened, without the name of the group: `100 b ends`.
    fn runs_of(&self, group: &str) -> Vec<String> {
        let path = format!("{group}/");
        let events = self.recorder.events().into_iter();
        let lines = events.filter_map(|event| {
            let name = event.service.strip_prefix(&path)?;
            let what = match event.kind {
                EventKind::Running => "begins",
                EventKind::RunEnded { .. } => "ends",
                _ => return None,
            };
            let at = event.at.saturating_duration_since(self.t0).as_millis();
            Some(format!("{at} {name} {what}"))
        });
        lines.collect()
    }

    /// The same, without what happened before `from` milliseconds.
    fn runs_since(&self, from: u64, group: &str) -> Vec<String> {
        let since = |line: &String| {
            let at = line.split(' ').next().unwrap();
            at.parse::<u64>().unwrap() >= from
        };
        self.runs_of(group).into_iter().filter(since).collect()
    }

    /// Milliseconds since it was made.
    fn elapsed(&self) -> u128 {
        let now = tokio::time::Instant::now().into_std();
        now.saturating_duration_since(self.t0).as_millis()
    }

    /// How often each of them was started.
    fn starts<const N: usize>(&self, names: [&str; N]) -> [u32; N] {
        names.map(|name| self.snapshot(name).start_count)
    }

    /// The phases of all that are inside the group.
    fn phases_in(&self, group: &str) -> Vec<ServicePhase> {
        let path = format!("{group}/");
        let inside = self.phases().into_iter();
        let inside = inside.filter(|(name, ..)| name.starts_with(&path));
        inside.map(|(_, phase, _)| phase).collect()
    }

    /// What must be true of all events and counters, whatever has happened.
    fn audit(&self) {
        let stories = Story::of_each(&self.recorder.events()).unwrap();
        let over = stories.values().filter(|story| story.end.is_some()).count() as u64;
        let metrics = self.supervisor.metrics().snapshot();
        assert_eq!(metrics.spawned_total, stories.len() as u64);
        assert_eq!(metrics.terminated_total, over);
        assert_eq!(metrics.active_services, metrics.spawned_total - over);
        let restarts = stories.values().map(|story| story.restarts).sum::<u64>();
        assert_eq!(metrics.restarts_total, restarts);
        let trips = stories.values().map(|story| story.trips).sum::<u64>();
        assert_eq!(metrics.circuit_breaker_trips, trips);
    }
}

/// D34. OTP: one_for_one.
#[tokio::test(start_paused = true)]
async fn one_for_one_restarts_only_the_child_that_failed() {
    let scene = Scene::new();
    let group = Group::new("g").service(steady("a"));
    scene.spawn(group.service(failing("b", [50])).service(steady("c")));
    until(scene.t0, 1000).await;
    assert_eq!(
        scene.runs_of("g"),
        [
            "0 a begins",
            "0 b begins",
            "0 c begins",
            "50 b ends",
            "150 b begins"
        ]
    );
    assert_eq!(scene.starts(["g", "g/a", "g/b", "g/c"]), [1, 1, 2, 1]);
    scene.audit();
}

/// D35, D41. OTP: one_for_all, order_of_children.
#[tokio::test(start_paused = true)]
async fn one_for_all_stops_all_in_reverse_and_starts_all_in_order() {
    let scene = Scene::new();
    let group = Group::new("g").strategy(Strategy::OneForAll);
    let group = group.service(slow("a", 10)).service(failing("b", [50]));
    scene.spawn(group.service(slow("c", 20)).service(steady("d")));
    until(scene.t0, 1000).await;
    assert_eq!(
        scene.runs_since(1, "g"),
        [
            "50 b ends",
            "50 d ends",
            "70 c ends",
            "80 a ends",
            "150 a begins",
            "150 b begins",
            "150 c begins",
            "150 d begins"
        ]
    );
    assert_eq!(scene.starts(["g", "g/a", "g/b", "g/d"]), [1, 2, 2, 2]);
    scene.audit();
}

/// D36, D41. OTP: rest_for_one, order_of_children.
#[tokio::test(start_paused = true)]
async fn rest_for_one_restarts_it_and_those_after_it_in_order() {
    let scene = Scene::new();
    let group = Group::new("g").strategy(Strategy::RestForOne);
    let group = group.service(steady("a")).service(failing("b", [50]));
    scene.spawn(group.service(slow("c", 20)).service(slow("d", 5)));
    until(scene.t0, 1000).await;
    assert_eq!(
        scene.runs_since(1, "g"),
        [
            "50 b ends",
            "55 d ends",
            "75 c ends",
            "150 b begins",
            "150 c begins",
            "150 d begins"
        ]
    );
    assert_eq!(scene.starts(["g/a", "g/b", "g/c", "g/d"]), [1, 2, 2, 2]);
    scene.audit();
}

/// D36.
#[tokio::test(start_paused = true)]
async fn rest_for_one_moves_all_for_the_first_child_and_none_else_for_the_last() {
    let scene = Scene::new();
    let group = Group::new("first").strategy(Strategy::RestForOne);
    let group = group.service(failing("a", [50])).service(steady("b"));
    scene.spawn(group.service(steady("c")));
    let group = Group::new("last").strategy(Strategy::RestForOne);
    let group = group.service(steady("a")).service(steady("b"));
    scene.spawn(group.service(failing("c", [50])));
    until(scene.t0, 1000).await;
    assert_eq!(scene.starts(["first/a", "first/b", "first/c"]), [2, 2, 2]);
    assert_eq!(scene.starts(["last/a", "last/b", "last/c"]), [1, 1, 2]);
    scene.audit();
}

/// D35, D36: the delay counts from the failure, and all who come down slowly are waited for.
#[tokio::test(start_paused = true)]
async fn a_restart_waits_for_the_backoff_and_for_the_slowest_whichever_is_later() {
    for strategy in [Strategy::OneForAll, Strategy::RestForOne] {
        let scene = Scene::new();
        let group = Group::new("g").strategy(strategy);
        let group = group.service(failing("a", [50])).service(steady("b"));
        scene.spawn(group.service(slow("c", 300)));
        until(scene.t0, 1000).await;
        assert_eq!(
            scene.runs_since(1, "g"),
            [
                "50 a ends",
                "350 c ends",
                "350 b ends",
                "350 a begins",
                "350 b begins",
                "350 c begins"
            ],
            "{strategy}"
        );
        scene.audit();
    }
}

/// D34-D36: a panic is a failure like an error.
#[tokio::test(start_paused = true)]
async fn a_panic_restarts_by_strategy_as_an_error_does() {
    for (strategy, expected) in STRATEGIES.into_iter().zip([[1, 2, 1], [2; 3], [1, 2, 2]]) {
        let scene = Scene::new();
        let panics = [Turn::Panic("boom").after(ms(50)), Turn::until_cancelled()];
        let group = Group::new("g").strategy(strategy).service(steady("a"));
        scene.spawn(group.service(Script::new("b", panics)).service(steady("c")));
        until(scene.t0, 1000).await;
        assert_eq!(scene.starts(["g/a", "g/b", "g/c"]), expected, "{strategy}");
        let panicked = scene.snapshot("g/b");
        assert_eq!(panicked.last_error.as_deref(), Some("panicked: boom"));
        assert_eq!(panicked.total_failures, 1);
        scene.audit();
    }
}

/// D34-D36: under `Always`, a clean end is followed by a restart by strategy, after the base delay.
#[tokio::test(start_paused = true)]
async fn a_clean_end_under_always_restarts_by_strategy() {
    for (strategy, expected) in STRATEGIES.into_iter().zip([[1, 2, 1], [2; 3], [1, 2, 2]]) {
        let scene = Scene::new();
        let ends = [Turn::Complete.after(ms(50)), Turn::until_cancelled()];
        let ends = Script::new("b", ends).policy(RestartPolicy::Always);
        let group = Group::new("g").strategy(strategy).service(steady("a"));
        scene.spawn(group.service(ends).service(steady("c")));
        until(scene.t0, 149).await;
        assert_eq!(scene.snapshot("g/b").phase, ServicePhase::BackingOff);
        until(scene.t0, 151).await;
        assert_eq!(scene.starts(["g/a", "g/b", "g/c"]), expected, "{strategy}");
        let ended = scene.snapshot("g/b");
        assert_eq!((ended.total_failures, ended.last_error), (0, None));
        scene.audit();
    }
}
