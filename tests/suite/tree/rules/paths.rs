//! What a group is to the outside: names, snapshots, events, metrics, and what is left of it.

use super::*;
use janus_supervisor::{SnapshotNode, SupervisorSnapshot};

fn fleet() -> Group {
    Group::new("g")
        .service(steady("a"))
        .group(Group::new("h").service(steady("b")).service(steady("c")))
        .service(steady("z"))
}

const NAMES: [&str; 6] = ["g", "g/a", "g/h", "g/h/b", "g/h/c", "g/z"];

fn names(scene: &Scene) -> Vec<String> {
    scene.phases().into_iter().map(|(name, ..)| name).collect()
}

/// G80: registered before it returns.
#[tokio::test(start_paused = true)]
async fn a_group_and_all_in_it_are_registered_when_the_spawn_returns() {
    let scene = Scene::new();
    let group = scene.spawn(fleet());
    assert_eq!((group.name(), group.as_service().name()), ("g", "g"));
    for name in NAMES {
        let handle = scene.supervisor.service(name).unwrap();
        assert_eq!(handle.name(), name);
        assert_eq!(handle.phase(), ServicePhase::Starting, "{name}");
        assert!(scene.supervisor.service_lifecycle(name).await.is_some());
    }
    for unknown in ["a", "h", "h/b", "g/", "/g", "g/b", "g/h/", ""] {
        assert!(scene.supervisor.service(unknown).is_none(), "{unknown}");
    }
    assert_eq!(scene.supervisor.metrics().snapshot().spawned_total, 6);
    let registered = told(&scene.recorder, scene.t0, |kind| {
        matches!(kind, EventKind::Registered)
    });
    assert_eq!(registered, NAMES.map(|name| format!("0 {name}")));
}

/// G80: declared order, nested, also after restarts.
#[tokio::test(start_paused = true)]
async fn a_snapshot_lists_what_is_inside_a_group_behind_it_and_in_its_order() {
    let scene = Scene::new();
    scene.supervisor.spawn_service(steady("first")).unwrap();
    let fragile = Group::new("g")
        .intensity(Intensity::new(0, secs(1)))
        .service(steady("a"))
        .group(Group::new("h").service(steady("b")))
        .service(Script::new(
            "z",
            [Turn::Fail("x").after(ms(10)), Turn::until_cancelled()],
        ));
    scene.spawn(fragile);
    // Its name begins as the group's does, and it is not inside.
    scene.supervisor.spawn_service(steady("g2")).unwrap();
    scene.spawn(Group::new("empty"));
    let all = ["first", "g", "g/a", "g/h", "g/h/b", "g/z", "g2", "empty"];
    assert_eq!(names(&scene), all);
    tokio::time::sleep(ms(500)).await;
    assert_eq!(scene.snapshot("g").start_count, 2);
    assert_eq!(names(&scene), all, "younger than g2 now");

    let snapshot = scene.supervisor.snapshot();
    assert_eq!(outline(&snapshot), "first g(a h(b) z) g2 empty");
    // Before the first, and after the last.
    assert_eq!(outline(&Scene::new().supervisor.snapshot()), "");
    scene.supervisor.trigger_shutdown();
    within_an_hour(scene.supervisor.wait_for_drain()).await;
    assert_eq!(
        outline(&scene.supervisor.snapshot()),
        "first g(a h(b) z) g2 empty"
    );
    // With parts of it forgotten.
    scene.supervisor.remove_service("g/h/b").unwrap();
    assert_eq!(
        outline(&scene.supervisor.snapshot()),
        "first g(a h z) g2 empty"
    );
}

fn outline(snapshot: &SupervisorSnapshot) -> String {
    fn line(nodes: &[SnapshotNode<'_>]) -> String {
        let each = nodes.iter().map(|node| {
            let name = node.service.service_name.rsplit('/').next().unwrap_or("");
            if node.children.is_empty() {
                name.to_owned()
            } else {
                format!("{name}({})", line(&node.children))
            }
        });
        each.collect::<Vec<_>>().join(" ")
    }
    line(&snapshot.tree())
}

/// OTP: count_children, which_children: a thousand shapes.
#[tokio::test(start_paused = true)]
async fn counts_and_the_tree_are_right_for_a_thousand_shapes() {
    for i in 0..1_000_usize {
        let scene = Scene::new();
        // The digits say how many children of which kind.
        let (services, groups, deep) = (i % 10, i / 10 % 10, i / 100);
        let fill = |group: Group, n: usize| {
            (0..n).fold(group, |group, i| group.service(steady(&format!("s{i}"))))
        };
        let mut group = fill(Group::new("g"), services);
        for j in 0..groups {
            let inner = fill(Group::new(format!("h{j}")), deep);
            group = group.group(inner);
        }
        scene.spawn(group);
        let expected = 1 + services + groups * (1 + deep);
        assert_eq!(scene.supervisor.service_count().await, expected, "{i}");
        settle().await;
        let snapshot = scene.supervisor.snapshot();
        assert_eq!(snapshot.metrics.active_services as usize, expected, "{i}");
        let tree = snapshot.tree();
        assert_eq!(tree.len(), 1, "{i}");
        assert_eq!(tree[0].children.len(), services + groups, "{i}");
        let below: usize = tree[0].children.iter().map(|it| it.children.len()).sum();
        assert_eq!(below, groups * deep, "{i}");
        scene.supervisor.trigger_shutdown();
        let report = within_an_hour(scene.supervisor.wait_for_drain()).await;
        assert_eq!((report.drained, report.is_clean()), (expected, true), "{i}");
        assert_eq!(scene.supervisor.metrics().snapshot().active_services, 0);
        assert_eq!(scene.supervisor.remove_terminated(), expected, "{i}");
        assert_eq!(scene.supervisor.service_count().await, 0);
    }
}

/// G78, G85: events, counters and the exporter know children by their paths, and see whole stories.
#[tokio::test(start_paused = true)]
async fn events_and_metric_labels_carry_the_path() {
    let exporter = janus_metrics_otel::PrometheusExporter::new().unwrap();
    let observer = exporter.observer();
    let scene = scene_with(|config| config.with_observer(observer));
    let group = Group::new("g").group(Group::new("h").service(steady("b")).service(ends(
        "c",
        RestartPolicy::OnFailure,
        Turn::Fail("x"),
    )));
    scene.spawn(group);
    tokio::time::sleep(ms(500)).await;
    let text = exporter.render().unwrap();
    for line in [
        r#"janus_supervisor_restarts_total{service="g/h/c"} 1"#,
        r#"janus_supervisor_restarts_total{service="g/h"} 0"#,
        r#"janus_supervisor_spawned_total{service="g"} 1"#,
        r#"janus_supervisor_service_phase{phase="running",service="g/h/b"} 1"#,
    ] {
        assert!(text.lines().any(|it| it == line), "{line} in {text}");
    }
    scene.supervisor.trigger_shutdown();
    within_an_hour(scene.supervisor.wait_for_drain()).await;
    assert_eq!(
        scene.recorder.trace_of("g/h/c", scene.t0),
        [
            "0 run 1 registered",
            "0 run 1 running",
            "10 run 1 failed (error): x",
            "10 run 1 backing off #1 for 100ms",
            "110 run 2 restarting",
            "110 run 2 running",
            "500 run 2 stopping",
            "500 run 2 cancelled",
            "500 run 2 terminated: cancelled",
        ]
    );
    assert_all_over(&scene);
}

/// OTP: terminate_child (child_adm).
#[tokio::test(start_paused = true)]
async fn a_stop_of_one_child_leaves_its_siblings_alone() {
    for strategy in [
        Strategy::OneForOne,
        Strategy::OneForAll,
        Strategy::RestForOne,
    ] {
        let scene = Scene::new();
        scene.spawn(fleet().strategy(strategy));
        settle().await;
        let stop = |name: &str| {
            let handle = scene.supervisor.service(name).unwrap();
            async move { within_an_hour(handle.stop()).await }
        };
        for name in ["g/a", "g/h/c", "g/h"] {
            assert_eq!(stop(name).await, TerminationReason::Cancelled);
            assert_eq!(
                stop(name).await,
                TerminationReason::Cancelled,
                "twice is ok"
            );
        }
        tokio::time::sleep(secs(100)).await;
        assert_eq!(
            ended(&scene),
            ["1 g/a", "1 g/h/c", "1 g/h/b", "1 g/h"],
            "{strategy}"
        );
        for name in ["g", "g/z"] {
            let snapshot = scene.snapshot(name);
            assert_eq!(
                (snapshot.phase, snapshot.start_count),
                (ServicePhase::Running, 1)
            );
        }
    }
}

/// OTP: child_adm, hanging_restart_loop: a child that is stopped in its backoff, or before its turn.
#[tokio::test(start_paused = true)]
async fn a_child_that_is_stopped_in_its_backoff_or_before_its_turn_holds_up_nobody() {
    for strategy in [
        Strategy::OneForOne,
        Strategy::OneForAll,
        Strategy::RestForOne,
    ] {
        let scene = Scene::new();
        let group = Group::new("g")
            .strategy(strategy)
            .intensity(Intensity::new(100, secs(1)))
            .service(steady("a"))
            .service(Script::new("looping", [Turn::Fail("x")]))
            .service(steady("b"));
        let group = scene.spawn(group);
        tokio::time::sleep(ms(50)).await;
        let looping = scene.supervisor.service("g/looping").unwrap();
        assert_eq!(looping.phase(), ServicePhase::BackingOff, "{strategy}");
        looping.stop().await;
        tokio::time::sleep(secs(10)).await;
        for name in ["g", "g/a", "g/b"] {
            assert_eq!(
                scene.snapshot(name).phase,
                ServicePhase::Running,
                "{strategy} {name}"
            );
        }
        group.stop().await;
    }
    let scene = Scene::new();
    scene.spawn(fleet());
    scene.supervisor.service("g/a").unwrap().request_stop();
    scene.supervisor.service("g/h/c").unwrap().request_stop();
    settle().await;
    let mut over = ended(&scene);
    over.sort_unstable();
    assert_eq!(over, ["0 g/a", "0 g/h/c"]);
    let mut up = started(&scene);
    up.sort_unstable();
    assert_eq!(up, ["0 g", "0 g/h", "0 g/h/b", "0 g/z"]);
}

/// E50, OTP: child_adm (delete_child): all that was inside goes with it, and its name is free.
#[tokio::test(start_paused = true)]
async fn a_removed_group_is_forgotten_with_all_that_was_inside_it() {
    let scene = Scene::new();
    let group = scene.spawn(fleet());
    settle().await;
    let alive = scene.supervisor.remove_service("g").unwrap_err();
    assert_eq!(
        alive.to_string(),
        "cannot remove service \"g\": it is running; only a terminated service can be removed"
    );
    let alive = scene.supervisor.remove_service("g/h").unwrap_err();
    assert_eq!(
        alive.to_string(),
        "cannot remove service \"g/h\": it is running; only a terminated service can be removed"
    );
    group.stop().await;
    // It stays with what was inside, until it is removed.
    assert_eq!(names(&scene), NAMES);
    let last = scene.supervisor.remove_service("g").unwrap();
    assert_eq!(last.service_name, "g");
    assert_eq!(scene.supervisor.service_count().await, 0);
    let gone = scene.supervisor.remove_service("g/h").unwrap_err();
    assert_eq!(gone.to_string(), "there is no service named \"g/h\"");
    let mut removed = told(&scene.recorder, scene.t0, |kind| {
        matches!(kind, EventKind::Removed)
    });
    removed.sort_unstable();
    assert_eq!(removed, NAMES.map(|name| format!("1 {name}")));
    let stories = janus_tests::Story::of_each(&scene.recorder.events()).unwrap();
    assert!(stories.values().all(|story| story.removed));

    // A child of a group that goes on may be forgotten as well.
    scene.spawn(fleet());
    settle().await;
    scene.supervisor.service("g/h").unwrap().stop().await;
    scene.supervisor.remove_service("g/h").unwrap();
    assert_eq!(names(&scene), ["g", "g/a", "g/z"]);
}

/// B8, OTP: do_not_save_child_specs_for_temporary_children: the name of a terminated group.
#[tokio::test(start_paused = true)]
async fn a_plain_service_may_take_the_name_of_a_terminated_group() {
    let scene = Scene::new();
    scene.spawn(fleet()).stop().await;
    scene.supervisor.spawn_service(steady("g")).unwrap();
    assert_eq!(names(&scene), ["g"]);
    settle().await;
    assert_eq!(scene.snapshot("g").phase, ServicePhase::Running);
    scene.supervisor.service("g").unwrap().stop().await;
    // And the other way round.
    scene.spawn(fleet());
    settle().await;
    assert_eq!(names(&scene), NAMES);
    let stories = janus_tests::Story::of_each(&scene.recorder.events()).unwrap();
    assert_eq!(stories.values().filter(|story| story.removed).count(), 7);
}

/// B8: a different group.
#[tokio::test(start_paused = true)]
async fn another_group_may_take_the_name_of_a_terminated_one() {
    let scene = Scene::new();
    scene.spawn(fleet()).stop().await;
    let other = Group::new("g").service(steady("a")).service(steady("new"));
    scene.spawn(other);
    settle().await;
    assert_eq!(names(&scene), ["g", "g/a", "g/new"]);
    let stories = janus_tests::Story::of_each(&scene.recorder.events()).unwrap();
    assert_eq!(stories.values().filter(|story| story.removed).count(), 6);
    assert_eq!(scene.supervisor.metrics().snapshot().active_services, 3);
}

/// G80, D40: the children of an earlier run are replaced by those of the next, which know nothing of it.
#[tokio::test(start_paused = true)]
async fn a_group_that_runs_again_registers_its_children_anew() {
    let scene = Scene::new();
    let group = Group::new("g")
        .intensity(Intensity::new(0, secs(1)))
        .service(steady("a"))
        .service(ends("b", RestartPolicy::OnFailure, Turn::Fail("x")));
    scene.spawn(group);
    settle().await;
    let old = scene.supervisor.service("g/a").unwrap();
    tokio::time::sleep(ms(500)).await;
    let new = scene.supervisor.service("g/a").unwrap();
    assert_ne!(old.id(), new.id());
    assert_eq!(old.phase(), ServicePhase::Terminated);
    assert_eq!(
        (new.phase(), new.snapshot().start_count),
        (ServicePhase::Running, 1)
    );
    assert_eq!(scene.snapshot("g/b").total_failures, 0);
    // Also when they were forgotten in between.
    let scene = Scene::new();
    let group = Group::new("g")
        .intensity(Intensity::new(0, secs(1)))
        .service(steady("a"))
        .service(ends("b", RestartPolicy::OnFailure, Turn::Fail("x")));
    scene.spawn(group);
    tokio::time::sleep(ms(50)).await;
    assert_eq!(scene.supervisor.remove_terminated(), 2);
    assert_eq!(names(&scene), ["g"]);
    tokio::time::sleep(ms(500)).await;
    assert_eq!(names(&scene), ["g", "g/a", "g/b"]);
    scene.supervisor.trigger_shutdown();
    within_an_hour(scene.supervisor.wait_for_drain()).await;
    assert_all_over(&scene);
}
