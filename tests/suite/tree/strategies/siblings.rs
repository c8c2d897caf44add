//! Those who are stopped for another's sake.

use super::*;

/// DESIGN 5; OTP's supervisors do not tell the two apart. Whatever it says on its way out.
#[tokio::test(start_paused = true)]
async fn a_sibling_that_is_stopped_for_anothers_sake_has_not_failed() {
    for strategy in [Strategy::OneForAll, Strategy::RestForOne] {
        for (turn, outcome) in [
            (Turn::Complete, "cancelled"),
            (Turn::Fail("in a hurry"), "cancelled, with in a hurry"),
            (Turn::FailForGood("hurt"), "cancelled, with hurt"),
            (Turn::Panic("ouch"), "cancelled, with panicked: ouch"),
        ] {
            let scene = Scene::new();
            let options = SpawnOptions::with_backoff(breaker(1));
            let group = Group::new("g")
                .strategy(strategy)
                .intensity(PLENTY)
                .service(failing("a", [50, 50, 50]))
                .service_with_options(Script::new("b", [turn.when_cancelled()]), options);
            scene.spawn(group);
            until(scene.t0, 2000).await;
            let sibling = scene.snapshot("g/b");
            assert_eq!(sibling.phase, ServicePhase::Running, "{strategy} {outcome}");
            assert_eq!(sibling.start_count, 4);
            assert_eq!((sibling.total_failures, sibling.attempt), (0, 0));
            assert_eq!(
                (sibling.last_error, sibling.last_failure_kind),
                (None, None)
            );
            assert_eq!(
                scene.recorder.trace_of("g/b", scene.t0)[..6],
                [
                    "0 run 1 registered".to_owned(),
                    "0 run 1 running".to_owned(),
                    format!("50 run 1 {outcome}"),
                    "50 run 1 backing off #0 for 0ns".to_owned(),
                    "150 run 2 restarting".to_owned(),
                    "150 run 2 running".to_owned(),
                ]
            );
            assert_eq!(
                scene.supervisor.metrics().snapshot().circuit_breaker_trips,
                0
            );
            scene.audit();
        }
    }
}

/// DESIGN 5: nor is what it has failed before forgotten.
#[tokio::test(start_paused = true)]
async fn a_restart_for_anothers_sake_leaves_the_siblings_own_ladder_and_error_alone() {
    let scene = Scene::new();
    let group = Group::new("g")
        .strategy(Strategy::OneForAll)
        .intensity(PLENTY)
        // b fails at 50, and all start at 150; a fails at 450, and all start at 550; b fails at 600.
        .service(failing("a", [1000, 300]))
        .service(failing("b", [50, 1000, 50]));
    scene.spawn(group);
    until(scene.t0, 560).await;
    let sibling = scene.snapshot("g/b");
    assert_eq!((sibling.start_count, sibling.total_failures), (3, 1));
    assert_eq!(sibling.attempt, 1);
    assert_eq!(sibling.last_error.as_deref(), Some("it broke"));
    until(scene.t0, 601).await;
    let trace = scene.recorder.trace_of("g/b", scene.t0);
    assert_eq!(trace.last().unwrap(), "600 run 3 backing off #2 for 200ms");
    scene.audit();
}

/// D38: three that fail in one moment: each has its own failure, and all have one restart.
#[tokio::test(start_paused = true)]
async fn a_failure_in_the_moment_of_being_told_to_halt_is_its_own() {
    let scene = Scene::new();
    let group = Group::new("g")
        .strategy(Strategy::OneForAll)
        .intensity(PLENTY)
        .service(failing("a", [50]))
        .service(failing("b", [50]))
        .service(failing("c", [50]));
    scene.spawn(group);
    until(scene.t0, 1000).await;
    for child in ["g/a", "g/b", "g/c"] {
        let child = scene.snapshot(child);
        assert_eq!(
            (child.start_count, child.total_failures),
            (2, 1),
            "{child:?}"
        );
        assert_eq!(child.phase, ServicePhase::Running);
    }
    scene.audit();
}

/// DESIGN 5. OTP: sup_stop_timeout, for a restart: a sibling that does not come down is dropped when its grace is over.
#[tokio::test(start_paused = true)]
async fn a_sibling_that_does_not_come_down_is_dropped_and_the_restart_goes_on() {
    for strategy in [Strategy::OneForAll, Strategy::RestForOne] {
        for grace in [0, 300] {
            let scene = Scene::new();
            let options = SpawnOptions::default().with_shutdown_grace(ms(grace));
            let stubborn = Script::new("c", [Turn::Hang]);
            let log = stubborn.log();
            let group = Group::new("g")
                .strategy(strategy)
                .service(failing("a", [50]))
                .service(slow("b", 10))
                .service_with_options(stubborn, options);
            let group = scene.spawn(group);
            until(scene.t0, 1000).await;
            assert_eq!(group.phase(), ServicePhase::Running);
            let (down, up) = (50 + grace, (60 + grace).max(150));
            assert_eq!(
                scene.runs_since(1, "g"),
                [
                    "50 a ends".to_owned(),
                    format!("{down} c ends"),
                    format!("{} b ends", down + 10),
                    format!("{up} a begins"),
                    format!("{up} b begins"),
                    format!("{up} c begins"),
                ],
                "{strategy}"
            );
            assert_eq!(
                (log.starts(), log.overlaps(), log.dropped_early()),
                (2, 0, 1)
            );
            let dropped = scene.snapshot("g/c");
            assert_eq!((dropped.total_failures, dropped.last_error), (0, None));
            let trace = scene.recorder.trace_of("g/c", scene.t0);
            assert_eq!(trace[2], format!("{down} run 1 dropped"));
            scene.audit();
        }
    }
}

/// D35. OTP: temporary_bystander.
#[tokio::test(start_paused = true)]
async fn a_temporary_child_that_a_restart_stops_ends_and_is_not_missed() {
    for (strategy, survives) in STRATEGIES.into_iter().zip([true, false, false]) {
        for turn in [Turn::Complete, Turn::Fail("in a hurry")] {
            let scene = Scene::new();
            let temporary = Script::new("t", [turn.when_cancelled()]).policy(RestartPolicy::Never);
            let group = Group::new("g")
                .strategy(strategy)
                .intensity(Intensity::new(1, secs(5)))
                .service(failing("a", [50]))
                .service(temporary)
                .service(steady("z"));
            let group = scene.spawn(group);
            until(scene.t0, 1000).await;
            assert_eq!(group.phase(), ServicePhase::Running, "{strategy}");
            let bystander = scene.snapshot("g/t");
            assert_eq!(bystander.start_count, 1);
            assert_eq!(bystander.total_failures, 0);
            if survives {
                assert_eq!(bystander.phase, ServicePhase::Running);
                assert_eq!(scene.starts(["g/a", "g/z"]), [2, 1]);
            } else {
                assert_eq!(bystander.termination_reason.as_deref(), Some("cancelled"));
                assert_eq!(scene.starts(["g/a", "g/z"]), [2, 2]);
            }
            scene.audit();
        }
    }
}

/// D35: a slow one is waited for in its place in the order, and dropped at the end of its grace.
#[tokio::test(start_paused = true)]
async fn a_temporary_child_comes_down_in_its_turn() {
    let scene = Scene::new();
    let stubborn = Script::new("t", [Turn::Hang]).policy(RestartPolicy::Never);
    let options = SpawnOptions::default().with_shutdown_grace(ms(200));
    let group = Group::new("g")
        .strategy(Strategy::OneForAll)
        .service(slow("a", 10))
        .service_with_options(stubborn, options)
        .service(failing("b", [50]))
        .service(slow("c", 5));
    scene.spawn(group);
    until(scene.t0, 1000).await;
    assert_eq!(
        scene.runs_since(1, "g"),
        [
            "50 b ends",
            "55 c ends",
            "255 t ends",
            "265 a ends",
            "265 a begins",
            "265 b begins",
            "265 c begins"
        ]
    );
    let dropped = scene.snapshot("g/t");
    let reason = TerminationReason::Aborted.to_string();
    assert_eq!(dropped.termination_reason, Some(reason));
    scene.audit();
}

/// D35: here Janus is not OTP, which starts a transient child again along with the others: what has completed stays so.
#[tokio::test(start_paused = true)]
async fn a_child_that_has_completed_is_not_started_again_with_the_others() {
    for strategy in [Strategy::OneForAll, Strategy::RestForOne] {
        let scene = Scene::new();
        let group = Group::new("g")
            .strategy(strategy)
            .service(failing("a", [50]))
            .service(Script::new("job", [Turn::Complete.after(ms(10))]))
            .service(steady("z"));
        scene.spawn(group);
        until(scene.t0, 1000).await;
        assert_eq!(
            scene.starts(["g/a", "g/job", "g/z"]),
            [2, 1, 2],
            "{strategy}"
        );
        let reason = scene.snapshot("g/job").termination_reason;
        assert_eq!(reason.as_deref(), Some("completed"));
        scene.audit();
    }
}

/// D41: a child that completes while the others are being started does not hold them up, and neither does one that
/// somebody stops.
#[tokio::test(start_paused = true)]
async fn a_child_that_ends_while_a_restart_is_under_way_holds_up_nobody() {
    let scene = Scene::new();
    let done_now = [Turn::until_cancelled(), Turn::Complete];
    let group = Group::new("g")
        .strategy(Strategy::OneForAll)
        .service(failing("a", [50]))
        .service(Script::new("b", done_now))
        .service(steady("c"))
        .service(steady("d"));
    scene.spawn(group);
    until(scene.t0, 100).await;
    scene.supervisor.service("g/c").unwrap().request_stop();
    settle().await;
    assert_eq!(scene.snapshot("g/c").phase, ServicePhase::Terminated);
    until(scene.t0, 1000).await;
    assert_eq!(scene.snapshot("g/a").phase, ServicePhase::Running);
    assert_eq!(scene.snapshot("g/d").phase, ServicePhase::Running);
    assert_eq!(scene.starts(["g/a", "g/b", "g/c", "g/d"]), [2, 2, 1, 2]);
    scene.audit();
}

/// A4, D35: a child that cancels its own token asks nobody for anything; it halts and restarts as any other.
#[tokio::test(start_paused = true)]
async fn a_child_that_has_cancelled_its_own_token_restarts_with_the_others() {
    for (turn, millis) in [
        (Turn::Fail("cancelled").after_cancelling_itself(), 50),
        (Turn::Complete.after(ms(70)).after_cancelling_itself(), 70),
    ] {
        let scene = Scene::new();
        let turns = [turn.after(ms(50)), Turn::until_cancelled()];
        let odd = Script::new("b", turns).policy(RestartPolicy::Always);
        let group = Group::new("g")
            .strategy(Strategy::OneForAll)
            .intensity(PLENTY)
            .service(steady("a"))
            .service(odd)
            .service(failing("c", [1000, 100]));
        let group = scene.spawn(group);
        until(scene.t0, 2000).await;
        assert_eq!(group.phase(), ServicePhase::Running);
        assert_eq!(scene.starts(["g/a", "g/b", "g/c"]), [3; 3], "{millis}");
        assert_eq!(scene.phases_in("g"), [ServicePhase::Running; 3]);
        scene.audit();
    }
}
