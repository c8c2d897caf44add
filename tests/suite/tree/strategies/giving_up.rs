//! Children that give up for good: their breaker opens, or their error is permanent.

use super::*;
use janus_supervisor::{Failure, FailureKind, GroupError, PanicError};
use std::error::Error;
use std::{fmt, io};

/// C31, D39: what a child that is lost means to its siblings.
#[tokio::test(start_paused = true)]
async fn a_child_whose_breaker_opens_is_the_end_of_all_but_a_one_for_one_group() {
    for strategy in STRATEGIES {
        let scene = Scene::new();
        let fails = Script::new("b", [Turn::Fail("no way").after(ms(50))]);
        let group = Group::new("g")
            .strategy(strategy)
            .intensity(PLENTY)
            .restart_policy(RestartPolicy::Never)
            .service(slow("a", 10))
            .service_with_options(fails, SpawnOptions::with_backoff(breaker(2)))
            .service(steady("c"));
        let group = scene.spawn(group);
        until(scene.t0, 1000).await;
        let lost = scene.snapshot("g/b");
        assert_eq!(lost.phase, ServicePhase::Terminated, "{strategy}");
        assert_eq!((lost.start_count, lost.total_failures), (2, 2));
        if strategy == Strategy::OneForOne {
            assert_eq!(group.phase(), ServicePhase::Running);
            assert_eq!(scene.starts(["g/a", "g/c"]), [1, 1]);
        } else {
            assert_eq!(
                group.termination_reason().unwrap().to_string(),
                "unrecoverable: g/b has failed for good: circuit breaker open (2/2 failures): no way"
            );
            assert_eq!(scene.phases_in("g"), [ServicePhase::Terminated; 3]);
            let events = scene.runs_since(200, "g");
            assert_eq!(events, ["200 b ends", "200 c ends", "210 a ends"]);
        }
        scene.audit();
    }
}

/// A6, D39.
#[tokio::test(start_paused = true)]
async fn a_permanent_error_is_the_end_of_all_but_a_one_for_one_group() {
    for strategy in STRATEGIES {
        let scene = Scene::new();
        let fails = Script::new("b", [Turn::FailForGood("the port is 0").after(ms(50))]);
        let group = Group::new("g")
            .strategy(strategy)
            .intensity(Intensity::new(0, secs(1)))
            .restart_policy(RestartPolicy::Never)
            .service(steady("a"))
            .service(fails)
            .service(steady("c"));
        let group = scene.spawn(group);
        until(scene.t0, 1000).await;
        if strategy == Strategy::OneForOne {
            assert_eq!(group.phase(), ServicePhase::Running);
            assert_eq!(scene.starts(["g/a", "g/c"]), [1, 1]);
        } else {
            assert_eq!(
                group.termination_reason().unwrap().to_string(),
                "unrecoverable: g/b has failed for good: the port is 0",
                "{strategy}"
            );
            assert_eq!(scene.phases_in("g"), [ServicePhase::Terminated; 3]);
        }
        assert_eq!(scene.snapshot("g/b").total_failures, 1);
        scene.audit();
    }
}

/// D39: the group's parent may try again, and then all begin afresh.
#[tokio::test(start_paused = true)]
async fn a_group_that_has_lost_a_child_is_tried_again_as_a_whole() {
    let scene = Scene::new();
    let hiccup = [
        Turn::FailForGood("no luck").after(ms(50)),
        Turn::until_cancelled(),
    ];
    let group = Group::new("g")
        .strategy(Strategy::RestForOne)
        .service(steady("a"))
        .service(Script::new("b", hiccup));
    let group = scene.spawn(group);
    until(scene.t0, 1000).await;
    assert_eq!(
        scene.recorder.trace_of("g", scene.t0),
        [
            "0 run 1 registered",
            "0 run 1 running",
            "50 run 1 failed (error): g/b has failed for good: no luck",
            "50 run 1 backing off #1 for 100ms",
            "150 run 2 restarting",
            "150 run 2 running"
        ]
    );
    assert_eq!(group.phase(), ServicePhase::Running);
    assert_eq!(scene.phases_in("g"), [ServicePhase::Running; 2]);
    scene.audit();
}

/// D39: a child that gives up in the middle of a restart.
#[tokio::test(start_paused = true)]
async fn a_child_that_gives_up_in_a_restart_of_the_group_ends_it_at_once() {
    for strategy in [Strategy::OneForAll, Strategy::RestForOne] {
        let scene = Scene::new();
        let lost = [Turn::until_cancelled(), Turn::FailForGood("gone")];
        let group = Group::new("g")
            .strategy(strategy)
            .restart_policy(RestartPolicy::Never)
            .service(failing("a", [50]))
            .service(Script::new("b", lost))
            .service(steady("c"));
        let group = scene.spawn(group);
        let reason = within_an_hour(group.terminated()).await;
        assert_eq!(
            reason.to_string(),
            "unrecoverable: g/b has failed for good: gone"
        );
        assert_eq!(scene.elapsed(), 150, "{strategy}");
        assert_eq!(scene.starts(["g/a", "g/b"]), [2, 2]);
        assert_eq!(scene.phases_in("g"), [ServicePhase::Terminated; 3]);
        scene.audit();
    }
}

/// D39: in the very moment that the others come down for a restart.
#[tokio::test(start_paused = true)]
async fn a_child_that_gives_up_while_others_come_down_ends_the_group() {
    let scene = Scene::new();
    // It is told to halt when b, which is slow, is down: at 90.
    let lost = Script::new("a", [Turn::FailForGood("gone").after(ms(60))]);
    let group = Group::new("g")
        .strategy(Strategy::OneForAll)
        .restart_policy(RestartPolicy::Never)
        .service(lost)
        .service(slow("b", 40))
        .service(failing("c", [50]));
    let group = scene.spawn(group);
    let reason = within_an_hour(group.terminated()).await;
    assert_eq!(
        reason.to_string(),
        "unrecoverable: g/a has failed for good: gone"
    );
    assert_eq!(scene.elapsed(), 90, "no longer than b takes");
    assert_eq!(scene.snapshot("g/b").total_failures, 0);
    scene.audit();
}

/// The failure of a group's child as its events tell it, and the group's own.
fn last_failure(scene: &Scene, name: &str) -> Failure {
    let failures = scene.recorder.events_of(name).into_iter();
    let failures = failures.filter_map(|event| match event.kind {
        EventKind::RunEnded {
            outcome: RunOutcome::Failed(failure),
            ..
        } => Some(failure),
        _ => None,
    });
    failures.last().unwrap()
}

#[derive(Debug)]
struct FeedError(io::Error);

impl fmt::Display for FeedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cannot read the feed")
    }
}

impl Error for FeedError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

/// D39: three levels deep, the whole story is in the error, as text and as values.
#[tokio::test(start_paused = true)]
async fn intensity_exceeded_three_levels_deep_tells_the_whole_story() {
    let scene = Scene::new();
    let feed = service_fn("feed", |_cancel| async {
        tokio::time::sleep(ms(5)).await;
        Err(FeedError(io::Error::other("connection reset")).into())
    });
    let never = Intensity::new(0, secs(60));
    let low = Group::new("low").intensity(Intensity::new(1, secs(60)));
    let mid = Group::new("mid").intensity(never).group(low.service(feed));
    let top = Group::new("top").intensity(never).group(mid);
    let top = scene.spawn(top.restart_policy(RestartPolicy::Never));
    let reason = within_an_hour(top.terminated()).await;
    assert_eq!(
        reason.to_string(),
        "unrecoverable: more than 0 restarts within 60s: top/mid was to run again after 1 start: \
         more than 0 restarts within 60s: top/mid/low was to run again after 1 start: \
         more than 1 restart within 60s: top/mid/low/feed was to run again after 2 starts: \
         cannot read the feed: connection reset"
    );

    let failure = last_failure(&scene, "top");
    assert_eq!(failure.kind(), FailureKind::Error);
    let mut error: &(dyn Error + 'static) = failure.error();
    for (path, tolerated, after) in [
        ("top/mid", 0, 1),
        ("top/mid/low", 0, 1),
        ("top/mid/low/feed", 1, 2),
    ] {
        let Some(GroupError::IntensityExceeded {
            child,
            intensity,
            starts,
            last_failure: Some(last_failure),
            ..
        }) = error.downcast_ref()
        else {
            panic!("not what was expected: {error:?}");
        };
        assert_eq!((child.as_str(), *starts), (path, after));
        assert_eq!(*intensity, Intensity::new(tolerated, secs(60)));
        assert_eq!(last_failure.kind(), FailureKind::Error);
        error = error.source().unwrap();
    }
    assert!(error.is::<FeedError>());
    assert!(error.source().unwrap().is::<io::Error>());
    scene.audit();
}

/// D39: the same for children that are lost, and for a panic at the bottom.
#[tokio::test(start_paused = true)]
async fn a_lost_child_three_levels_deep_tells_the_whole_story() {
    let scene = Scene::new();
    let all = |name| {
        let group = Group::new(name).strategy(Strategy::OneForAll);
        group.backoff(breaker(1))
    };
    let leaf = Script::new("leaf", [Turn::Panic("boom")]);
    let low = all("low").service_with_options(leaf, SpawnOptions::with_backoff(breaker(1)));
    let top = all("top").group(all("mid").group(low));
    let top = scene.spawn(top);
    let reason = within_an_hour(top.terminated()).await;
    let opened = TerminationReason::CircuitBreakerOpen {
        failures: 1,
        max_retries: 1,
    };
    assert_eq!(reason, opened);
    assert_eq!(
        scene.snapshot("top").last_error.unwrap(),
        "top/mid has failed for good: circuit breaker open (1/1 failures): \
         top/mid/low has failed for good: circuit breaker open (1/1 failures): \
         top/mid/low/leaf has failed for good: circuit breaker open (1/1 failures): panicked: boom"
    );
    let failure = last_failure(&scene, "top");
    let mut error: &(dyn Error + 'static) = failure.error();
    for path in ["top/mid", "top/mid/low", "top/mid/low/leaf"] {
        let Some(GroupError::ChildLost { child, reason, .. }) = error.downcast_ref() else {
            panic!("not what was expected: {error:?}");
        };
        assert_eq!((child.as_str(), reason), (path, &opened));
        error = error.source().unwrap();
    }
    assert_eq!(
        error.downcast_ref::<PanicError>().unwrap().message(),
        "boom"
    );
    scene.audit();
}

/// D39: a permanent error is permanent for the service, and worth another try for the group, which runs with a fresh
/// one.
#[tokio::test(start_paused = true)]
async fn a_permanent_error_at_the_bottom_is_told_once_for_each_level() {
    let scene = Scene::new();
    let all = |name| Group::new(name).strategy(Strategy::OneForAll);
    let leaf = Script::new("leaf", [Turn::FailForGood("the port is 0")]);
    let low = all("low").backoff(breaker(1)).service(leaf);
    let top = all("top").restart_policy(RestartPolicy::Never).group(low);
    let top = scene.spawn(top);
    let reason = within_an_hour(top.terminated()).await;
    assert_eq!(
        reason.to_string(),
        "unrecoverable: top/low has failed for good: circuit breaker open (1/1 failures): \
         top/low/leaf has failed for good: the port is 0"
    );
    scene.audit();
}
