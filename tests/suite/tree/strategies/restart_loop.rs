//! A restart that keeps failing.

use super::stop::{BOTH, group};
use super::*;

/// OTP: hanging_restart_loop, hanging_restart_loop_rest_for_one: while the restart keeps failing, those it concerns are
/// not up, and a stop does not hang.
#[tokio::test(start_paused = true)]
async fn while_a_restart_keeps_failing_all_show_it_and_a_stop_does_not_hang() {
    use ServicePhase::{BackingOff, Running};
    let concerned = [[Running, Running], [BackingOff; 2], [Running, BackingOff]];
    for (strategy, [a, c]) in STRATEGIES.into_iter().zip(concerned) {
        for how in BOTH {
            let scene = Scene::new();
            let options = SpawnOptions::with_backoff(every(1000));
            let group = group(strategy)
                .intensity(PLENTY)
                .service(steady("a"))
                .service_with_options(broken(), options)
                .service(steady("c"));
            let group = scene.spawn(group);
            for round in 0_u32..10 {
                until(scene.t0, 500 + 1000 * u64::from(round)).await;
                assert_eq!(
                    scene.phases_in("g"),
                    [a, BackingOff, c],
                    "{strategy} {round}"
                );
                let loops = scene.snapshot("g/b");
                assert_eq!(loops.total_failures, round + 1);
                assert_eq!(loops.last_error.as_deref(), Some("no way"));
                let retry = loops.next_retry_secs.unwrap();
                assert_eq!((retry * 1000.0).round(), 550.0);
            }
            let before = scene.elapsed();
            how.end(&scene, &group).await;
            assert_eq!(scene.elapsed(), before, "{strategy} {how:?}");
            scene.audit();
        }
    }
}

/// OTP: hanging_restart_loop: terminate_child ends the loop, and the siblings go on.
#[tokio::test(start_paused = true)]
async fn stopping_the_child_that_keeps_failing_ends_the_loop_and_the_siblings_come_back() {
    for strategy in STRATEGIES {
        let scene = Scene::new();
        let options = SpawnOptions::with_backoff(every(1000));
        let group = group(strategy)
            .intensity(PLENTY)
            .service(steady("a"))
            .service_with_options(broken(), options)
            .service(steady("c"));
        let group = scene.spawn(group);
        until(scene.t0, 2500).await;
        let failing = scene.supervisor.service("g/b").unwrap();
        assert_eq!(
            within_an_hour(failing.stop()).await,
            TerminationReason::Cancelled
        );
        assert_eq!(scene.elapsed(), 2500, "{strategy}");
        until(scene.t0, 10_000).await;
        assert_eq!(group.phase(), ServicePhase::Running, "{strategy}");
        assert_eq!(
            scene.snapshot("g/a").phase,
            ServicePhase::Running,
            "{strategy}"
        );
        assert_eq!(
            scene.snapshot("g/c").phase,
            ServicePhase::Running,
            "{strategy}"
        );
        let moved = scene.runs_since(3051, "g");
        assert_eq!(moved, [""; 0], "nothing moves any more: {strategy}");
        scene.audit();
    }
}

/// From 50 ms on it keeps failing.
fn broken() -> Script {
    let turns = [Turn::Fail("no way").after(ms(50)), Turn::Fail("no way")];
    Script::new("b", turns)
}

/// OTP: hanging_restart_loop_rest_for_one: what comes after it has never begun.
#[tokio::test(start_paused = true)]
async fn what_never_began_because_of_a_restart_that_keeps_failing_is_starting() {
    for strategy in [Strategy::OneForAll, Strategy::RestForOne] {
        let scene = Scene::new();
        let late = steady("c");
        let log = late.log();
        let options = SpawnOptions::with_backoff(every(1000));
        let loops = Script::new("b", [Turn::Fail("no way")]);
        let group = group(strategy).intensity(PLENTY);
        let group = group.service_with_options(loops, options).service(late);
        let group = scene.spawn(group);
        until(scene.t0, 9500).await;
        assert_eq!(
            scene.phases_in("g"),
            [ServicePhase::BackingOff, ServicePhase::Starting],
            "{strategy}"
        );
        assert_eq!(
            within_an_hour(group.stop()).await,
            TerminationReason::Cancelled
        );
        assert_eq!(scene.elapsed(), 9500);
        assert_eq!(log.starts(), 0, "{strategy}");
        scene.audit();
    }
}
