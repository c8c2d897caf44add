//! What cannot be ordered: refused, with nothing changed.

use super::super::*;
use super::ended;
use janus_supervisor::{SpawnError, SpawnOptions};

/// That it is refused with this text, and that nothing has changed.
#[expect(clippy::expect_used, reason = "part of a test")]
async fn refuses(scene: &Scene, name: &str, names: &[&str], text: &str) -> SpawnError {
    let before = (
        scene.supervisor.snapshot().metrics,
        scene.phases(),
        scene.recorder.events().len(),
    );
    let script = steady(name);
    let log = script.log();
    let options = SpawnOptions::default().after(names.iter().copied());
    let refused = scene.supervisor.spawn_service_with_options(script, options);
    let error = refused.expect_err(text);
    assert_eq!(error.to_string(), text);
    let group = Group::new(name).after(names.iter().copied());
    let group = scene
        .supervisor
        .spawn_group(group.service(steady("inside")));
    assert_eq!(group.expect_err(text).to_string(), text);
    settle().await;
    let after = (
        scene.supervisor.snapshot().metrics,
        scene.phases(),
        scene.recorder.events().len(),
    );
    assert_eq!(after, before, "{text}");
    assert_eq!(log.starts(), 0, "{text}");
    error
}

/// D43: systemd and fx find out at the start, too.
#[tokio::test(start_paused = true)]
async fn a_dependency_that_is_not_registered_is_named() {
    let scene = Scene::new();
    scene.spawn(Group::new("g").service(steady("inside")));
    settle().await;
    let text = r#"cannot spawn "api" after "db": there is no service of that name"#;
    let error = refuses(&scene, "api", &["g", "db"], text).await;
    assert!(matches!(
        error,
        SpawnError::UnknownDependency { name, dependency } if name == "api" && dependency == "db"
    ));
    let text = r#"cannot spawn "api" after "": there is no service of that name"#;
    refuses(&scene, "api", &[""], text).await;
}

/// D43: what is inside a group is the group's affair.
#[tokio::test(start_paused = true)]
async fn a_dependency_inside_a_group_is_refused() {
    let scene = Scene::new();
    scene.spawn(Group::new("g").service(steady("inside")));
    settle().await;
    let text = r#"cannot spawn "api" after "g/inside": what is inside a group cannot be named, only the group"#;
    refuses(&scene, "api", &["g/inside"], text).await;
}

/// D43
#[tokio::test(start_paused = true)]
async fn nobody_comes_after_himself() {
    let scene = Scene::new();
    let text = r#"cannot spawn "api": it would have to start after itself, by way of api"#;
    let error = refuses(&scene, "api", &["api"], text).await;
    assert!(matches!(
        error,
        SpawnError::DependencyCycle { name, path } if name == "api" && path == ["api"]
    ));
    // Also if there was one of that name.
    let api = scene.supervisor.spawn_service(steady("api")).unwrap();
    api.stop().await;
    refuses(&scene, "api", &["api"], text).await;
}

/// D43: only by using names again can there be a cycle.
#[tokio::test(start_paused = true)]
async fn a_cycle_is_refused_with_the_way_round() {
    let scene = Scene::new();
    let db = scene.supervisor.spawn_service(steady("db")).unwrap();
    for (name, on) in [("api", "db"), ("web", "api")] {
        let options = SpawnOptions::default().after([on]);
        scene
            .supervisor
            .spawn_service_with_options(steady(name), options)
            .unwrap();
    }
    scene.supervisor.spawn_service(steady("other")).unwrap();
    settle().await;
    db.stop().await;
    let text = r#"cannot spawn "db": it would have to start after itself, by way of api after db"#;
    refuses(&scene, "db", &["api"], text).await;
    let text = r#"cannot spawn "db": it would have to start after itself, by way of web after api after db"#;
    let error = refuses(&scene, "db", &["other", "web"], text).await;
    assert!(matches!(
        error,
        SpawnError::DependencyCycle { path, .. } if path == ["web", "api", "db"]
    ));
    // Also when it was removed in between.
    scene.supervisor.remove_service("db").unwrap();
    refuses(&scene, "db", &["other", "web"], text).await;

    // Without the cycle, it goes.
    let options = SpawnOptions::default().after(["other"]);
    scene
        .supervisor
        .spawn_service_with_options(steady("db"), options)
        .unwrap();
    settle().await;
    assert_eq!(scene.snapshot("db").phase, ServicePhase::Running);
    scene.supervisor.trigger_shutdown();
    let report = within_an_hour(scene.supervisor.wait_for_drain()).await;
    assert_eq!((report.drained, report.is_clean()), (4, true));
    let last: Vec<_> = ended(&scene).iter().rev().take(4).rev().cloned().collect();
    let order: Vec<_> = last
        .iter()
        .map(|it| it.split_once(' ').unwrap().1)
        .collect();
    assert_eq!(order, ["web", "api", "db", "other"]);
}

/// D43: who has ended is in nobody's way.
#[tokio::test(start_paused = true)]
async fn the_order_may_be_turned_round_when_those_that_had_it_have_ended() {
    let scene = Scene::new();
    let db = scene.supervisor.spawn_service(steady("db")).unwrap();
    let options = SpawnOptions::default().after(["db"]);
    let api = scene
        .supervisor
        .spawn_service_with_options(steady("api"), options);
    let api = api.unwrap();
    settle().await;
    api.stop().await;
    db.stop().await;
    scene.supervisor.spawn_service(steady("api")).unwrap();
    let options = SpawnOptions::default().after(["api"]);
    scene
        .supervisor
        .spawn_service_with_options(steady("db"), options)
        .unwrap();
    settle().await;
    scene.supervisor.trigger_shutdown();
    let report = within_an_hour(scene.supervisor.wait_for_drain()).await;
    assert_eq!((report.drained, report.is_clean()), (2, true));
    assert_eq!(ended(&scene)[2..], ["2 db", "2 api"]);
}
