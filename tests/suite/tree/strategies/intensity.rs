//! How many restarts a group tolerates, and what counts as one.

use super::*;
use std::time::Duration;

/// A group of three whose middle child fails at these times after each of its starts, with a delay of 10 ms.
fn fails_in_the_middle<const N: usize>(strategy: Strategy, after: [u64; N]) -> Group {
    let options = SpawnOptions::with_backoff(every(10));
    Group::new("g")
        .strategy(strategy)
        .restart_policy(RestartPolicy::Never)
        .service(steady("a"))
        .service_with_options(failing("b", after), options)
        .service(steady("c"))
}

/// C23, D38. OTP: one_for_one, one_for_all, rest_for_one: with an intensity of 2, the third ends the supervisor. A
/// restart of many counts once.
#[tokio::test(start_paused = true)]
async fn exactly_as_many_restarts_as_said_are_tolerated_however_many_children_each_moves() {
    for strategy in STRATEGIES {
        let scene = Scene::new();
        let intensity = Intensity::new(2, secs(5));
        let group = fails_in_the_middle(strategy, [50, 50]).intensity(intensity);
        scene.spawn(group);
        until(scene.t0, 1000).await;
        let alive = scene.supervisor.service("g").unwrap();
        assert_eq!(alive.phase(), ServicePhase::Running, "{strategy}");
        assert_eq!(scene.starts(["g", "g/b"]), [1, 3]);
        scene.audit();

        let scene = Scene::new();
        let group = fails_in_the_middle(strategy, [50, 50, 50]).intensity(intensity);
        let group = scene.spawn(group);
        let reason = within_an_hour(group.terminated()).await;
        assert_eq!(
            reason.to_string(),
            "unrecoverable: more than 2 restarts within 5s: g/b was to run again after 3 starts: it broke"
        );
        assert_eq!(scene.elapsed(), 170, "not a moment later");
        assert_eq!(scene.phases_in("g"), [ServicePhase::Terminated; 3]);
        scene.audit();
    }
}

/// C24.
#[tokio::test(start_paused = true)]
async fn with_an_intensity_of_zero_the_first_restart_is_one_too_many() {
    for strategy in STRATEGIES {
        let scene = Scene::new();
        let intensity = Intensity::new(0, secs(5));
        let group = scene.spawn(fails_in_the_middle(strategy, [50]).intensity(intensity));
        let reason = within_an_hour(group.terminated()).await;
        assert_eq!(
            reason.to_string(),
            "unrecoverable: more than 0 restarts within 5s: g/b was to run again after 1 start: it broke"
        );
        assert_eq!(
            scene.runs_since(1, "g"),
            ["50 b ends", "50 c ends", "50 a ends"],
            "{strategy}"
        );
        scene.audit();
    }
}

/// C25. OTP: multiple_restarts.
#[tokio::test(start_paused = true)]
async fn restarts_further_apart_than_the_period_are_tolerated_for_ever() {
    for strategy in STRATEGIES {
        let scene = Scene::new();
        let intensity = Intensity::new(1, secs(1));
        let group = fails_in_the_middle(strategy, [2100; 4]).intensity(intensity);
        let group = scene.spawn(group);
        until(scene.t0, 20_000).await;
        assert_eq!(group.phase(), ServicePhase::Running, "{strategy}");
        assert_eq!(scene.starts(["g/b"]), [5]);
        scene.audit();
    }
}

/// C25: what `Intensity` documents of the edge.
#[tokio::test(start_paused = true)]
async fn a_restart_that_is_exactly_as_old_as_the_period_still_counts() {
    let at = |millis| async move {
        let scene = Scene::new();
        let intensity = Intensity::new(1, secs(1));
        let group = fails_in_the_middle(Strategy::OneForAll, [50, millis]).intensity(intensity);
        let group = scene.spawn(group);
        until(scene.t0, 5000).await;
        scene.audit();
        group.phase()
    };
    assert_eq!(at(990).await, ServicePhase::Terminated, "a second apart");
    assert_eq!(at(991).await, ServicePhase::Running, "one ms more");
}

/// C30. OTP: the intensity is the supervisor's and not the child's.
#[tokio::test(start_paused = true)]
async fn all_children_of_a_group_share_its_intensity() {
    for strategy in STRATEGIES {
        let scene = Scene::new();
        let group = Group::new("g")
            .strategy(strategy)
            .intensity(Intensity::new(1, secs(5)))
            .restart_policy(RestartPolicy::Never)
            .service(failing("a", [500, 500]))
            .service(failing("b", [50, 150]));
        let group = scene.spawn(group);
        let reason = within_an_hour(group.terminated()).await.to_string();
        // b fails at 50 and, started again at 150, at 300; a has never failed.
        let expected = "unrecoverable: more than 1 restart within 5s: g/b was to run again after 2 starts: it broke";
        assert_eq!(reason, expected, "{strategy}");

        let scene = Scene::new();
        let group = Group::new("g")
            .strategy(strategy)
            .intensity(Intensity::new(1, secs(5)))
            .restart_policy(RestartPolicy::Never)
            .service(failing("a", [500, 500]))
            .service(failing("b", [50, 2000]));
        let group = scene.spawn(group);
        let reason = within_an_hour(group.terminated()).await.to_string();
        assert!(reason.contains("g/a was to run again"), "{reason}");
        scene.audit();
    }
}

/// D38: a sibling that fails by itself while a restart that moves it is under way is part of that restart.
#[tokio::test(start_paused = true)]
async fn two_that_fail_in_the_same_moment_are_one_restart_of_all_and_two_of_one() {
    for (strategy, survives) in STRATEGIES.into_iter().zip([false, true, true]) {
        let scene = Scene::new();
        let group = Group::new("g")
            .strategy(strategy)
            .intensity(Intensity::new(1, secs(5)))
            .restart_policy(RestartPolicy::Never)
            .service(failing("a", [50]))
            .service(failing("b", [50]))
            .service(steady("c"));
        let group = scene.spawn(group);
        until(scene.t0, 1000).await;
        assert_eq!(
            group.phase() == ServicePhase::Running,
            survives,
            "{strategy}"
        );
        if survives {
            assert_eq!(scene.starts(["g/a", "g/b", "g/c"]), [2; 3], "{strategy}");
            assert_eq!(scene.snapshot("g/a").total_failures, 1);
            assert_eq!(scene.snapshot("g/b").total_failures, 1, "its own failure");
        }
        scene.audit();
    }
}

/// D38: both delays are waited for.
#[tokio::test(start_paused = true)]
async fn of_two_that_failed_together_the_longer_delay_counts() {
    for strategy in [Strategy::OneForAll, Strategy::RestForOne] {
        for delays in [[100, 400], [400, 100]] {
            let scene = Scene::new();
            let options = |delay| SpawnOptions::with_backoff(every(delay));
            let group = Group::new("g").strategy(strategy);
            let group = group.service_with_options(failing("a", [50]), options(delays[0]));
            scene.spawn(group.service_with_options(failing("b", [50]), options(delays[1])));
            until(scene.t0, 1000).await;
            assert_eq!(
                scene.runs_since(100, "g"),
                ["450 a begins", "450 b begins"],
                "{strategy} {delays:?}"
            );
            scene.audit();
        }
    }
}

/// A7. OTP: temporary_*, transient_normal.
#[tokio::test(start_paused = true)]
async fn an_end_that_is_not_followed_by_a_restart_is_none() {
    for strategy in STRATEGIES {
        let scene = Scene::new();
        let once =
            |name, turn: Turn| Script::new(name, [turn.after(ms(50))]).policy(RestartPolicy::Never);
        let group = Group::new("g")
            .strategy(strategy)
            .intensity(Intensity::new(0, secs(3600)))
            .service(steady("a"))
            .service(once("fails", Turn::Fail("once is enough")))
            .service(once("panics", Turn::Panic("once is enough")))
            .service(once("ends", Turn::Complete))
            .service(Script::new("completes", [Turn::Complete.after(ms(50))]))
            .service(steady("z"));
        let group = scene.spawn(group);
        until(scene.t0, 1000).await;
        assert_eq!(group.phase(), ServicePhase::Running, "{strategy}");
        assert_eq!(scene.starts(["g", "g/a", "g/z"]), [1; 3], "{strategy}");
        assert_eq!(scene.snapshot("g/fails").phase, ServicePhase::Terminated);
        scene.audit();
    }
}

/// A7: nor is a stop by an operator. OTP: terminate_child.
#[tokio::test(start_paused = true)]
async fn a_child_that_somebody_stops_stays_stopped_and_moves_nobody() {
    for strategy in STRATEGIES {
        let scene = Scene::new();
        let group = fails_in_the_middle(strategy, []).intensity(Intensity::new(0, secs(3600)));
        let group = scene.spawn(group);
        settle().await;
        let stopped = scene.supervisor.service("g/b").unwrap();
        let reason = within_an_hour(stopped.stop()).await;
        assert_eq!(reason, TerminationReason::Cancelled);
        until(scene.t0, 1000).await;
        assert_eq!(group.phase(), ServicePhase::Running, "{strategy}");
        assert_eq!(scene.starts(["g/a", "g/b", "g/c"]), [1; 3], "{strategy}");
        scene.audit();
    }
}

/// C23: clean ends under `Always` count, too.
#[tokio::test(start_paused = true)]
async fn a_restart_after_a_clean_end_counts() {
    for strategy in STRATEGIES {
        let scene = Scene::new();
        let ends = Script::new("b", [Turn::Complete]).policy(RestartPolicy::Always);
        let group = Group::new("g")
            .strategy(strategy)
            .intensity(Intensity::new(2, secs(5)))
            .restart_policy(RestartPolicy::Never)
            .service(steady("a"))
            .service(ends);
        let group = scene.spawn(group);
        let reason = within_an_hour(group.terminated()).await;
        assert_eq!(
            reason.to_string(),
            "unrecoverable: more than 2 restarts within 5s: g/b was to run again after 3 starts",
            "{strategy}"
        );
        scene.audit();
    }
}

/// C23: a group that runs again counts from zero.
#[tokio::test(start_paused = true)]
async fn each_run_of_a_group_has_the_whole_intensity() {
    let scene = Scene::new();
    let group = fails_in_the_middle(Strategy::OneForAll, [50, 50, 50, 50, 50])
        .intensity(Intensity::new(2, secs(3600)))
        .restart_policy(RestartPolicy::OnFailure);
    scene.spawn(group);
    until(scene.t0, 2000).await;
    // Three of the failures end the group's first run, the other two are tolerated by the second.
    assert_eq!(scene.starts(["g", "g/b"]), [2, 3]);
    assert_eq!(scene.snapshot("g").total_failures, 1);
    scene.audit();
}

/// C27, C28: there can be as good as no limit, and a period without end overflows nothing.
#[tokio::test(start_paused = true)]
async fn the_largest_intensity_in_the_longest_period_tolerates_everything() {
    for strategy in STRATEGIES {
        let scene = Scene::new();
        let group = Group::new("g")
            .strategy(strategy)
            .intensity(Intensity::new(u32::MAX, Duration::MAX))
            .service(steady("a"))
            .service_with_options(
                Script::new("b", [Turn::Fail("again")]),
                SpawnOptions::with_backoff(every(1)),
            );
        let group = scene.spawn(group);
        until(scene.t0, 1000).await;
        assert_eq!(group.phase(), ServicePhase::Running, "{strategy}");
        assert_eq!(scene.snapshot("g/b").total_failures, 1000, "{strategy}");
        within_an_hour(group.stop()).await;
        scene.audit();
    }
}
