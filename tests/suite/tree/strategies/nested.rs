//! Groups inside groups: escalation, and what a group is to its parent.

use super::*;

/// D34, D39, D40. OTP: tree.
#[tokio::test(start_paused = true)]
async fn only_the_dead_one_is_restarted_and_an_escalation_rebuilds_only_its_own_subtree() {
    let scene = Scene::new();
    let left = Group::new("left")
        .intensity(Intensity::new(1, secs(5)))
        .service(failing("w1", [50, 50]))
        .group(Group::new("deep").service(steady("w2")));
    let right = Group::new("right").service(steady("w3"));
    let top = Group::new("top").group(left).group(right);
    let top = scene.spawn(top.service(steady("w4")));

    until(scene.t0, 199).await;
    let others = ["top", "top/left", "top/left/deep", "top/right", "top/w4"];
    assert_eq!(scene.starts(others), [1; 5]);
    assert_eq!(scene.starts(["top/left/w1", "top/left/deep/w2"]), [2, 1]);
    let before = scene.supervisor.service("top/left/deep/w2").unwrap().id();

    until(scene.t0, 201).await;
    use ServicePhase::{BackingOff, Running, Terminated};
    let expected = [
        ("top", Running, 1),
        ("top/left", BackingOff, 1),
        ("top/left/w1", Terminated, 2),
        ("top/left/deep", Terminated, 1),
        ("top/left/deep/w2", Terminated, 1),
        ("top/right", Running, 1),
        ("top/right/w3", Running, 1),
        ("top/w4", Running, 1),
    ];
    assert_eq!(
        scene.phases(),
        expected.map(|(name, phase, starts)| (name.to_owned(), phase, starts))
    );

    until(scene.t0, 1000).await;
    let expected = [
        ("top", 1),
        ("top/left", 2),
        // Children that know nothing of earlier runs.
        ("top/left/w1", 1),
        ("top/left/deep", 1),
        ("top/left/deep/w2", 1),
        ("top/right", 1),
        ("top/right/w3", 1),
        ("top/w4", 1),
    ];
    assert_eq!(
        scene.phases(),
        expected.map(|(name, starts)| (name.to_owned(), Running, starts))
    );
    assert_eq!(scene.snapshot("top/left/w1").total_failures, 0);
    assert_ne!(
        scene.supervisor.service("top/left/deep/w2").unwrap().id(),
        before
    );
    assert_eq!(scene.supervisor.metrics().snapshot().active_services, 8);
    assert_eq!(
        within_an_hour(top.stop()).await,
        TerminationReason::Cancelled
    );
    scene.audit();
}

/// D39: to its parent, a group that has given up is a child that has failed.
#[tokio::test(start_paused = true)]
async fn a_group_that_gives_up_is_restarted_by_its_parents_strategy() {
    for (strategy, expected) in STRATEGIES.into_iter().zip([[1, 2, 1], [2; 3], [1, 2, 2]]) {
        let scene = Scene::new();
        let top = Group::new("top").strategy(strategy).service(steady("a"));
        let top = top.group(fragile("g", [50])).service(steady("z"));
        let top = scene.spawn(top);
        until(scene.t0, 1000).await;
        assert_eq!(top.phase(), ServicePhase::Running);
        assert_eq!(
            scene.starts(["top/a", "top/g", "top/z"]),
            expected,
            "{strategy}"
        );
        assert_eq!(scene.phases_in("top/g"), [ServicePhase::Running; 2]);
        let group = scene.snapshot("top/g");
        assert_eq!((group.total_failures, group.attempt), (1, 1));
        assert_eq!(
            group.last_error.unwrap(),
            "more than 0 restarts within 5s: top/g/q was to run again after 1 start: it broke"
        );
        scene.audit();
    }
}

/// D35, D40, D41: a group that is stopped for another's sake stops and starts all that is in it, and has not failed.
#[tokio::test(start_paused = true)]
async fn a_group_among_the_siblings_comes_down_in_reverse_and_is_rebuilt() {
    let scene = Scene::new();
    let group = Group::new("g")
        .service(slow("p", 20))
        .service(slow("q", 10));
    let top = Group::new("top").strategy(Strategy::OneForAll);
    let top = top.service(slow("a", 5)).group(group);
    scene.spawn(top.service(failing("z", [50])));
    until(scene.t0, 1000).await;
    assert_eq!(
        scene.runs_since(1, "top")[..5],
        [
            "50 z ends",
            "60 g/q ends",
            "80 g/p ends",
            "80 g ends",
            "85 a ends"
        ]
    );
    assert_eq!(scene.starts(["top/a", "top/g", "top/z"]), [2; 3]);
    assert_eq!(scene.starts(["top/g/p", "top/g/q"]), [1; 2], "they are new");
    let group = scene.snapshot("top/g");
    assert_eq!((group.total_failures, group.last_error), (0, None));
    assert_eq!(scene.phases_in("top"), [ServicePhase::Running; 5]);
    scene.audit();
}

/// D41. OTP: order_of_children; a supervisor has started its children when it is started itself.
#[tokio::test(start_paused = true)]
async fn what_comes_after_a_group_begins_when_all_in_the_group_have_begun() {
    let scene = Scene::new();
    let deep = Group::new("deep").service(steady("x")).service(steady("y"));
    let group = Group::new("g")
        .service(steady("p"))
        .group(deep)
        .service(steady("q"));
    let top = Group::new("top").service(steady("a")).group(group);
    scene.spawn(top.service(steady("z")));
    settle().await;
    let begun = scene.runs_of("top");
    let last = begun.last().unwrap();
    assert_eq!(last, "0 z begins", "{begun:#?}");
}

/// D39: it was giving up by itself when its parent told it to halt: its failure is neither counted nor a restart of its
/// own.
#[tokio::test(start_paused = true)]
async fn a_group_that_is_giving_up_when_it_is_told_to_halt_has_not_failed() {
    let scene = Scene::new();
    let group = Group::new("g")
        .intensity(Intensity::new(0, secs(5)))
        .service(slow("p", 200))
        .service(failing("q", [50]));
    let top = Group::new("top")
        .strategy(Strategy::OneForAll)
        .intensity(Intensity::new(1, secs(5)));
    let top = scene.spawn(top.group(group).service(failing("z", [100])));
    until(scene.t0, 1000).await;
    assert_eq!(top.phase(), ServicePhase::Running);
    assert_eq!(scene.starts(["top/g", "top/z", "top/g/q"]), [2, 2, 1]);
    assert_eq!(scene.snapshot("top/g").total_failures, 0);
    assert_eq!(
        scene.recorder.trace_of("top/g", scene.t0)[2..],
        [
            "250 run 1 cancelled, with more than 0 restarts within 5s: top/g/q was to run again after 1 start: it broke",
            "250 run 1 backing off #0 for 0ns",
            "250 run 2 restarting",
            "250 run 2 running"
        ]
    );
    scene.audit();
}

/// D35: it was waiting for its own backoff when its siblings had to restart.
#[tokio::test(start_paused = true)]
async fn a_group_that_is_backing_off_restarts_with_its_siblings_when_both_delays_are_over() {
    for (group_fails, sibling_fails) in [(50, 60), (60, 50)] {
        let scene = Scene::new();
        let group = fragile("g", [group_fails]).backoff(every(300));
        let top = Group::new("top").strategy(Strategy::OneForAll);
        scene.spawn(top.group(group).service(failing("z", [sibling_fails])));
        until(scene.t0, 1000).await;
        // Only the first of the two can fail: the other is down when its time comes.
        let expected = if group_fails < sibling_fails {
            350
        } else {
            150
        };
        let begun = scene.runs_since(100, "top");
        assert_eq!(begun[0], format!("{expected} g/p begins"));
        assert_eq!(scene.starts(["top/g", "top/z"]), [2, 2]);
        assert_eq!(scene.phases_in("top"), [ServicePhase::Running; 4]);
        scene.audit();
    }
}

/// D39, DontPropagate in suture: with the policy `Never`, a group's failure stays its own.
#[tokio::test(start_paused = true)]
async fn a_group_that_is_never_restarted_ends_and_its_siblings_go_on() {
    for strategy in STRATEGIES {
        let scene = Scene::new();
        let top = Group::new("top")
            .strategy(strategy)
            .intensity(Intensity::new(0, secs(5)))
            .service(steady("a"))
            .group(fragile("g", [50]).restart_policy(RestartPolicy::Never))
            .service(steady("z"));
        let top = scene.spawn(top);
        until(scene.t0, 1000).await;
        assert_eq!(top.phase(), ServicePhase::Running, "{strategy}");
        assert_eq!(scene.starts(["top", "top/a", "top/z"]), [1; 3]);
        assert_eq!(scene.snapshot("top/g").phase, ServicePhase::Terminated);
        assert_eq!(scene.phases_in("top/g"), [ServicePhase::Terminated; 2]);
        scene.audit();
    }
}

/// D35, F61: a group that does not come down within its own grace is dropped with all in it, and rebuilt.
#[tokio::test(start_paused = true)]
async fn a_group_that_does_not_come_down_is_dropped_with_all_in_it_and_the_restart_goes_on() {
    let scene = Scene::new();
    let stubborn = Script::new("q", [Turn::Hang]);
    let log = stubborn.log();
    let deep = Group::new("deep")
        .service(slow("p", 1000))
        .service(stubborn);
    let group = Group::new("g").shutdown_grace(ms(200)).group(deep);
    let top = Group::new("top").strategy(Strategy::OneForAll);
    scene.spawn(top.service(failing("a", [50])).group(group));
    until(scene.t0, 249).await;
    assert_eq!(scene.starts(["top/a", "top/g"]), [1, 1]);
    until(scene.t0, 1000).await;
    assert_eq!(scene.starts(["top/a", "top/g"]), [2, 2]);
    assert_eq!(
        scene.recorder.trace_of("top/g", scene.t0)[2..],
        [
            "250 run 1 dropped",
            "250 run 1 backing off #0 for 0ns",
            "250 run 2 restarting",
            "250 run 2 running"
        ]
    );
    assert_eq!(
        (log.starts(), log.overlaps(), log.dropped_early()),
        (2, 0, 1)
    );
    assert_eq!(scene.phases_in("top"), [ServicePhase::Running; 5]);
    assert_eq!(scene.snapshot("top/g").total_failures, 0);
    scene.audit();
}
