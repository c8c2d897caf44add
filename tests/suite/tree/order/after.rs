//! `SpawnOptions::after`: who starts when, and who stops before whom.

use super::super::*;
use super::{assert_all_over, ended, scene_with, started};
use janus_supervisor::{EventKind, Readiness, ServiceHandle, SpawnOptions, notify, service_fn};
use std::time::Duration;

#[expect(clippy::unwrap_used, reason = "part of a test")]
pub(super) fn after(scene: &Scene, script: Script, names: &[&str]) -> ServiceHandle {
    let options = SpawnOptions::default().after(names.iter().copied());
    let spawned = scene.supervisor.spawn_service_with_options(script, options);
    spawned.unwrap()
}

pub(super) fn root(scene: &Scene, script: Script) -> ServiceHandle {
    after(scene, script, &[])
}

/// Comes up at the second try, so many milliseconds after the first has failed.
fn late(name: &str) -> Script {
    Script::new(name, [Turn::Fail("not yet"), Turn::until_cancelled()])
}

async fn until(scene: &Scene, millis: u64) {
    tokio::time::sleep_until((scene.t0 + ms(millis)).into()).await;
}

/// D41: `after` a service that was spawned this very moment.
#[tokio::test(start_paused = true)]
async fn a_service_starts_when_the_one_it_comes_after_runs() {
    let scene = Scene::new();
    root(&scene, steady("db"));
    let api = after(&scene, steady("api"), &["db"]);
    assert_eq!(api.phase(), ServicePhase::Starting);
    settle().await;
    assert_eq!(started(&scene), ["0 db", "0 api"]);
    after(&scene, steady("web"), &["db", "api"]);
    settle().await;
    assert_eq!(started(&scene)[2..], ["1 web"]);
}

/// D41: the dependency waits itself.
#[tokio::test(start_paused = true)]
async fn a_chain_starts_link_by_link() {
    let scene = Scene::new();
    root(&scene, late("db"));
    settle().await;
    let api = after(&scene, steady("api"), &["db"]);
    let web = after(&scene, steady("web"), &["api"]);
    until(&scene, 99).await;
    for waiting in [&api, &web] {
        let snapshot = waiting.snapshot();
        assert_eq!(
            (snapshot.phase, snapshot.start_count),
            (ServicePhase::Starting, 1)
        );
    }
    until(&scene, 101).await;
    assert_eq!(started(&scene), ["0 db", "100 db", "100 api", "100 web"]);
}

/// D41: the dependency is in backoff, and then again.
#[tokio::test(start_paused = true)]
async fn a_dependency_in_backoff_is_waited_for_until_it_runs() {
    let scene = Scene::new();
    let turns = [Turn::Fail("x"), Turn::Fail("x"), Turn::until_cancelled()];
    root(&scene, Script::new("db", turns));
    until(&scene, 50).await;
    after(&scene, steady("api"), &["db"]);
    until(&scene, 99).await;
    assert_eq!(started(&scene), ["0 db"]);
    until(&scene, 1_000).await;
    // Its second run has been up, however short: order is not health.
    assert_eq!(started(&scene), ["0 db", "100 db", "100 api", "300 db"]);
}

/// D41: whether others came after it before makes no difference to whoever comes now.
#[tokio::test(start_paused = true)]
async fn a_dependency_in_backoff_is_waited_for_also_by_the_second_who_comes_after_it() {
    let scene = Scene::new();
    let turns = [Turn::Fail("x").after(ms(10)), Turn::until_cancelled()];
    root(&scene, Script::new("db", turns));
    after(&scene, steady("first"), &["db"]);
    until(&scene, 20).await;
    assert_eq!(scene.snapshot("db").phase, ServicePhase::BackingOff);
    after(&scene, steady("second"), &["db"]);
    until(&scene, 200).await;
    assert_eq!(started(&scene), ["0 db", "0 first", "110 db", "110 second"]);
}

/// D41: nor to whoever came before and has seen it up.
#[tokio::test(start_paused = true)]
async fn who_has_seen_a_dependency_up_does_not_wait_for_it_again_because_another_does() {
    let scene = Scene::new();
    let turns = [Turn::Fail("x").after(ms(10)), Turn::until_cancelled()];
    root(&scene, Script::new("db", turns));
    let base = service_fn("base", |cancel| async move {
        tokio::time::sleep(ms(100)).await;
        notify::ready();
        cancel.cancelled().await;
        Ok(())
    });
    let notifies = SpawnOptions::default().with_readiness(Readiness::Notify);
    let base = scene.supervisor.spawn_service_with_options(base, notifies);
    base.unwrap();
    after(&scene, steady("first"), &["db", "base"]);
    until(&scene, 20).await;
    assert_eq!(scene.snapshot("db").phase, ServicePhase::BackingOff);
    after(&scene, steady("second"), &["db"]);
    until(&scene, 200).await;
    let expected = ["0 db", "100 base", "100 first", "110 db", "110 second"];
    assert_eq!(started(&scene), expected);
}

/// D41: who has ended holds nobody up, however it ended.
#[tokio::test(start_paused = true)]
async fn a_terminated_dependency_is_not_waited_for() {
    let scene = Scene::new();
    root(&scene, Script::new("done", [Turn::Complete]));
    root(&scene, Script::new("lost", [Turn::FailForGood("x")]));
    root(&scene, steady("stopped")).stop().await;
    settle().await;
    after(&scene, steady("api"), &["done", "lost", "stopped"]);
    settle().await;
    assert_eq!(started(&scene).last().unwrap(), "1 api");
}

/// D41: ends while it is waited for: for good, by its breaker, by an operator.
#[tokio::test(start_paused = true)]
async fn a_dependency_that_ends_instead_of_coming_up_releases_those_who_wait() {
    let scene = Scene::new();
    let base = root(&scene, late("base"));
    settle().await;
    // It waits as well, so it has never been up when it ends.
    let db = after(&scene, steady("db"), &["base"]);
    after(&scene, steady("api"), &["db"]);
    until(&scene, 50).await;
    assert_eq!(started(&scene), ["0 base"]);
    assert_eq!(db.stop().await, TerminationReason::Cancelled);
    settle().await;
    assert_eq!(started(&scene), ["0 base", "50 api"]);
    // The same for one that is stopped in its backoff.
    after(&scene, steady("web"), &["base"]);
    base.stop().await;
    settle().await;
    assert_eq!(started(&scene)[2..], ["51 web"]);
}

/// D41
#[tokio::test(start_paused = true)]
async fn of_several_dependencies_the_last_one_counts() {
    let scene = Scene::new();
    let up_at = |name: &str, millis| {
        let quick = janus_supervisor::BackoffConfig::new(ms(millis), ms(millis))
            .with_jitter(janus_supervisor::Jitter::None);
        let options = SpawnOptions::with_backoff(quick);
        let service = late(name);
        scene
            .supervisor
            .spawn_service_with_options(service, options)
            .unwrap();
    };
    up_at("a", 300);
    up_at("b", 100);
    up_at("c", 200);
    settle().await;
    // Naming one twice is harmless.
    after(&scene, steady("api"), &["a", "b", "c", "b"]);
    until(&scene, 400).await;
    assert_eq!(started(&scene)[3..], ["100 b", "200 c", "300 a", "300 api"]);
    scene.supervisor.trigger_shutdown();
    let report = within_an_hour(scene.supervisor.wait_for_drain()).await;
    assert_eq!((report.drained, report.took), (4, ms(0)));
    assert_eq!(ended(&scene)[0], "400 api");
}

/// E: order is for the start and for the shutdown of all; an operator may stop what he likes.
#[tokio::test(start_paused = true)]
async fn an_operators_stop_of_a_dependency_and_its_restarts_do_not_touch_the_dependents() {
    let scene = Scene::new();
    let turns = [Turn::Fail("x").after(ms(10)), Turn::until_cancelled()];
    let db = root(&scene, Script::new("db", turns));
    let turns = [Turn::Fail("y").after(ms(500)), Turn::until_cancelled()];
    let api = after(&scene, Script::new("api", turns), &["db"]);
    until(&scene, 200).await;
    assert_eq!(api.snapshot().start_count, 1);
    assert_eq!(db.stop().await, TerminationReason::Cancelled);
    until(&scene, 400).await;
    assert_eq!(
        (api.phase(), api.snapshot().start_count),
        (ServicePhase::Running, 1)
    );
    // Its own restart waits for nobody any more.
    until(&scene, 700).await;
    assert_eq!(started(&scene), ["0 db", "0 api", "110 db", "600 api"]);
}

/// B8, E47: the name of the dependency is used again.
#[tokio::test(start_paused = true)]
async fn a_dependency_that_was_removed_and_spawned_again_is_waited_for_and_stops_last_again() {
    let scene = Scene::new();
    root(&scene, steady("db")).stop().await;
    after(&scene, slow("old", 10), &["db"]);
    settle().await;
    scene.supervisor.remove_service("db").unwrap();
    let options = SpawnOptions::default().after(["db"]);
    let refused = scene
        .supervisor
        .spawn_service_with_options(steady("early"), options);
    assert_eq!(
        refused.unwrap_err().to_string(),
        r#"cannot spawn "early" after "db": there is no service of that name"#
    );
    root(&scene, late("base"));
    settle().await;
    after(&scene, slow("db", 7), &["base"]);
    after(&scene, slow("new", 20), &["db"]);
    until(&scene, 200).await;
    assert_eq!(
        started(&scene),
        ["0 old", "1 base", "101 base", "101 db", "101 new"]
    );
    scene.supervisor.trigger_shutdown();
    within_an_hour(scene.supervisor.wait_for_drain()).await;
    assert_eq!(
        ended(&scene)[1..],
        ["210 old", "220 new", "227 db", "227 base"]
    );
}

/// E47, D41: a dependent is replaced in the very moment of its end, by one that comes after another.
#[tokio::test(start_paused = true)]
async fn a_dependent_that_is_replaced_as_it_ends_holds_up_nobody_it_came_after() {
    struct Replace(std::sync::OnceLock<JanusSupervisor>);

    impl janus_supervisor::Observer for Replace {
        fn observe(&self, event: &janus_supervisor::ServiceEvent) {
            let Some(supervisor) = self.0.get() else {
                return;
            };
            let ended = matches!(event.kind, EventKind::Terminated { .. });
            if ended && &*event.service == "api" && !supervisor.is_shutting_down() {
                let options = SpawnOptions::default().after(["cache"]);
                let next = supervisor.spawn_service_with_options(steady("api"), options);
                assert!(next.is_ok());
            }
        }
    }

    let replace = Arc::new(Replace(std::sync::OnceLock::new()));
    let scene = scene_with(|config| config.with_observer(Arc::clone(&replace) as Arc<_>));
    root(&scene, steady("db"));
    root(&scene, steady("cache"));
    let api = after(&scene, steady("api"), &["db"]);
    settle().await;
    assert!(replace.0.set(scene.supervisor.clone()).is_ok());
    api.stop().await;
    settle().await;
    assert_eq!(scene.snapshot("api").phase, ServicePhase::Running);
    scene.supervisor.trigger_shutdown();
    let report = within_an_hour(scene.supervisor.wait_for_drain()).await;
    assert_eq!(report.aborted, [""; 0]);
    assert_eq!((report.drained, report.took), (3, Duration::ZERO));
}

/// F67, F68: nothing that waits for another holds up its own end.
#[tokio::test(start_paused = true)]
async fn a_service_that_waits_for_a_dependency_stops_at_once() {
    let scene = Scene::new();
    root(&scene, late("db"));
    settle().await;
    let api = after(&scene, steady("api"), &["db"]);
    let web = after(&scene, steady("web"), &["api"]);
    settle().await;
    // Whoever came after it no longer waits for it.
    assert_eq!(api.stop().await, TerminationReason::Cancelled);
    settle().await;
    assert_eq!(ended(&scene), ["2 api"]);
    assert_eq!(web.phase(), ServicePhase::Running);

    let next = after(&scene, steady("next"), &["db"]);
    let last = after(&scene, steady("last"), &["next"]);
    scene.supervisor.trigger_shutdown();
    let report = within_an_hour(scene.supervisor.wait_for_drain()).await;
    assert_eq!((report.drained, report.took), (4, Duration::ZERO));
    for never_ran in [next, last] {
        assert_eq!(
            never_ran.termination_reason(),
            Some(TerminationReason::Cancelled)
        );
    }
    assert!(
        started(&scene)
            .iter()
            .all(|it| !it.ends_with("next") && !it.ends_with("last"))
    );
    assert_all_over(&scene);
}

/// D41: groups come after services, and services after groups.
#[tokio::test(start_paused = true)]
async fn a_group_takes_part_in_the_order_as_any_service() {
    let scene = Scene::new();
    root(&scene, late("db"));
    settle().await;
    let group = Group::new("g")
        .after(["db"])
        .service(slow("a", 10))
        .service(slow("b", 10));
    let group = scene.spawn(group);
    after(&scene, slow("web", 10), &["g"]);
    until(&scene, 50).await;
    assert_eq!(group.phase(), ServicePhase::Starting);
    assert_eq!(started(&scene), ["0 db"]);
    until(&scene, 150).await;
    scene.supervisor.trigger_shutdown();
    let report = within_an_hour(scene.supervisor.wait_for_drain()).await;
    assert!(report.is_clean());
    assert_eq!(
        ended(&scene),
        ["160 web", "170 g/b", "180 g/a", "180 g", "180 db"]
    );
    assert_eq!(
        started(&scene)[1..],
        ["100 db", "100 g/a", "100 g/b", "100 g", "100 web"]
    );
    assert_all_over(&scene);
}

/// DESIGN 5: a group is ready when its children are.
#[tokio::test(start_paused = true)]
async fn whoever_comes_after_a_group_starts_when_all_in_it_is_up() {
    let scene = Scene::new();
    let inner = Group::new("h").service(steady("b")).service(steady("c"));
    scene.spawn(Group::new("g").service(steady("a")).group(inner));
    after(&scene, steady("web"), &["g"]);
    settle().await;
    assert_eq!(started(&scene).last().unwrap(), "0 web");
}

/// F77: as many as one likes.
#[tokio::test(start_paused = true)]
async fn a_thousand_services_come_after_one() {
    let scene = Scene::new();
    root(&scene, late("db"));
    settle().await;
    for i in 0..1_000 {
        after(&scene, steady(&format!("{i}")), &["db"]);
    }
    until(&scene, 99).await;
    assert_eq!(started(&scene), ["0 db"]);
    until(&scene, 101).await;
    assert_eq!(started(&scene).len(), 1_002);
    assert!(started(&scene)[1..].iter().all(|it| it.starts_with("100 ")));
    scene.supervisor.trigger_shutdown();
    let report = within_an_hour(scene.supervisor.wait_for_drain()).await;
    assert_eq!((report.drained, report.is_clean()), (1_001, true));
    assert_eq!(ended(&scene).last().unwrap(), "101 db");
    assert_all_over(&scene);
}
