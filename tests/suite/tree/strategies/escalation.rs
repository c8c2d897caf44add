//! Restarts that fail in turn, and lead to the end of the group.

use super::*;

fn group(strategy: Strategy) -> Group {
    Group::new("g")
        .strategy(strategy)
        .intensity(Intensity::new(3, secs(5)))
        .restart_policy(RestartPolicy::Never)
}

fn quick() -> SpawnOptions {
    SpawnOptions::with_backoff(every(10))
}

/// OTP: one_for_one_escalation.
#[tokio::test(start_paused = true)]
async fn a_restart_that_keeps_failing_ends_the_group_and_the_siblings() {
    for strategy in STRATEGIES {
        let scene = Scene::new();
        let fails = Script::new(
            "b",
            [Turn::Fail("no way").after(ms(50)), Turn::Fail("no way")],
        );
        let group = group(strategy).service(steady("a"));
        let group = group
            .service_with_options(fails, quick())
            .service(steady("c"));
        let group = scene.spawn(group);
        let reason = within_an_hour(group.terminated()).await;
        assert_eq!(
            reason.to_string(),
            "unrecoverable: more than 3 restarts within 5s: g/b was to run again after 4 starts: no way",
            "{strategy}"
        );
        assert_eq!(scene.elapsed(), 80, "{strategy}");
        assert_eq!(scene.phases_in("g"), [ServicePhase::Terminated; 3]);
        let sibling = scene.snapshot("g/a");
        assert_eq!(sibling.termination_reason.as_deref(), Some("cancelled"));
        assert_eq!(sibling.total_failures, 0);
        scene.audit();
    }
}

/// OTP: one_for_all_escalation, rest_for_one_escalation.
#[tokio::test(start_paused = true)]
async fn a_sibling_that_cannot_be_restarted_ends_the_group() {
    for strategy in [Strategy::OneForAll, Strategy::RestForOne] {
        let scene = Scene::new();
        let group = group(strategy)
            .service_with_options(failing("a", [50]), quick())
            .service_with_options(broken_later("b"), quick());
        let group = scene.spawn(group);
        let reason = within_an_hour(group.terminated()).await;
        // One for a's own failure, three for b's; b's next one is too much.
        assert_eq!(
            reason.to_string(),
            "unrecoverable: more than 3 restarts within 5s: g/b was to run again after 4 starts: no way",
            "{strategy}"
        );
        assert_eq!(scene.snapshot("g/a").total_failures, 1);
        assert_eq!(scene.snapshot("g/b").total_failures, 3);
        scene.audit();
    }
}

/// D37. OTP: one_for_all_other_child_fails_restart.
#[tokio::test(start_paused = true)]
async fn one_for_all_starts_over_when_another_child_fails_in_the_restart() {
    let scene = Scene::new();
    let hiccup = [
        Turn::until_cancelled(),
        Turn::Fail("hiccup"),
        Turn::until_cancelled(),
    ];
    let group = group(Strategy::OneForAll)
        .service(steady("a"))
        .service_with_options(Script::new("b", hiccup), quick())
        .service_with_options(failing("c", [50]), quick())
        .service(steady("d"));
    let group = scene.spawn(group);
    until(scene.t0, 1000).await;
    assert_eq!(group.phase(), ServicePhase::Running);
    assert_eq!(
        scene.runs_since(50, "g"),
        [
            "50 c ends",
            "50 d ends",
            "50 b ends",
            "50 a ends",
            "60 a begins",
            "60 b begins",
            "60 b ends",
            "60 a ends",
            "70 a begins",
            "70 b begins",
            "70 c begins",
            "70 d begins"
        ]
    );
    assert_eq!(scene.starts(["g/a", "g/b", "g/c", "g/d"]), [3, 3, 2, 2]);
    scene.audit();
}

/// D37. OTP: rest_for_one_other_child_fails_restart.
#[tokio::test(start_paused = true)]
async fn rest_for_one_keeps_those_before_the_child_that_fails_in_the_restart() {
    let scene = Scene::new();
    let hiccup = [
        Turn::until_cancelled(),
        Turn::Fail("hiccup"),
        Turn::until_cancelled(),
    ];
    let group = group(Strategy::RestForOne)
        .service(steady("a"))
        .service_with_options(failing("b", [50]), quick())
        .service_with_options(Script::new("c", hiccup), quick())
        .service(steady("d"));
    let group = scene.spawn(group);
    until(scene.t0, 1000).await;
    assert_eq!(group.phase(), ServicePhase::Running);
    assert_eq!(
        scene.runs_since(50, "g"),
        [
            "50 b ends",
            "50 d ends",
            "50 c ends",
            "60 b begins",
            "60 c begins",
            "60 c ends",
            "70 c begins",
            "70 d begins"
        ]
    );
    assert_eq!(scene.starts(["g/a", "g/b", "g/c", "g/d"]), [1, 2, 3, 2]);
    scene.audit();
}

/// D37, D38: each of them counts.
#[tokio::test(start_paused = true)]
async fn a_failure_in_the_restart_of_the_group_is_a_restart_of_its_own() {
    for strategy in [Strategy::OneForAll, Strategy::RestForOne] {
        for (tolerated, survives) in [(1, false), (2, true)] {
            let scene = Scene::new();
            let hiccup = [
                Turn::until_cancelled(),
                Turn::Fail("hiccup"),
                Turn::until_cancelled(),
            ];
            let group = group(strategy)
                .intensity(Intensity::new(tolerated, secs(5)))
                .service_with_options(failing("a", [50]), quick())
                .service_with_options(Script::new("b", hiccup), quick());
            let group = scene.spawn(group);
            until(scene.t0, 1000).await;
            let running = group.phase() == ServicePhase::Running;
            assert_eq!(running, survives, "{strategy} {tolerated}");
            scene.audit();
        }
    }
}

/// D36: a child before the ones that are coming down fails, too: it moves the bound, and its delay counts.
#[tokio::test(start_paused = true)]
async fn rest_for_one_takes_in_an_earlier_child_that_fails_while_later_ones_come_down() {
    // b fails while c, which is slow, comes down for another's sake; and while all of them wait for the delay.
    for fails_at in [60, 120] {
        let scene = Scene::new();
        let group = group(Strategy::RestForOne)
            .service(steady("a"))
            .service_with_options(failing("b", [fails_at]), quick())
            .service(failing("c", [50]))
            .service(slow("d", 40));
        let group = scene.spawn(group);
        until(scene.t0, 1000).await;
        assert_eq!(group.phase(), ServicePhase::Running);
        assert_eq!(
            scene
                .runs_since(100, "g")
                .iter()
                .filter(|line| line.ends_with("begins"))
                .collect::<Vec<_>>(),
            ["150 b begins", "150 c begins", "150 d begins"],
            "{fails_at}"
        );
        assert_eq!(scene.starts(["g/a", "g/b", "g/c", "g/d"]), [1, 2, 2, 2]);
        scene.audit();
    }
}

/// D37: the group is still beginning when one that has begun fails.
#[tokio::test(start_paused = true)]
async fn a_child_that_fails_at_once_is_restarted_by_strategy_and_the_rest_begins() {
    for (strategy, expected) in STRATEGIES
        .into_iter()
        .zip([[1, 2, 1], [2, 2, 1], [1, 2, 1]])
    {
        let scene = Scene::new();
        let fails = [Turn::Fail("not yet"), Turn::until_cancelled()];
        let group = group(strategy).service(steady("a"));
        let group = group.service(Script::new("b", fails)).service(steady("c"));
        let group = scene.spawn(group);
        until(scene.t0, 1000).await;
        assert_eq!(group.phase(), ServicePhase::Running);
        assert_eq!(
            scene.phases_in("g"),
            [ServicePhase::Running; 3],
            "{strategy}"
        );
        let runs = |name| {
            scene
                .runs_of("g")
                .iter()
                .filter(|it| it.ends_with(&format!("{name} begins")))
                .count() as u32
        };
        assert_eq!(["a", "b", "c"].map(runs), expected, "{strategy}");
        scene.audit();
    }
}
