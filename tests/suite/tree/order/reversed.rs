//! `SpawnOptions::after` in a shutdown: the last to start are the first to stop.

use super::super::*;
use super::after::{after, root};
use super::{ended, scene_with, told};
use janus_supervisor::{EventKind, SpawnOptions};

/// The ways in which a shutdown begins.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Way {
    Trigger,
    Token,
    Drop,
    /// The token is cancelled, and nobody waits for the drain.
    TokenAlone,
}

/// D41: whoever started after another is gone before that one is asked, whatever begins the shutdown.
#[tokio::test(start_paused = true)]
async fn a_shutdown_stops_them_in_reverse_whatever_began_it() {
    for way in [Way::Trigger, Way::Token, Way::Drop, Way::TokenAlone] {
        let scene = Scene::new();
        root(&scene, slow("db", 10));
        root(&scene, slow("cache", 5));
        after(&scene, slow("api", 10), &["db", "cache"]);
        after(&scene, slow("web", 10), &["api"]);
        root(&scene, slow("stranger", 1));
        settle().await;
        let Scene {
            supervisor,
            recorder,
            t0,
        } = scene;
        match way {
            Way::Trigger => supervisor.trigger_shutdown(),
            Way::Token | Way::TokenAlone => supervisor.cancel_token().cancel(),
            Way::Drop => {}
        }
        if way == Way::Drop {
            drop(supervisor);
            tokio::time::sleep(secs(1)).await;
        } else if way == Way::TokenAlone {
            tokio::time::sleep(secs(1)).await;
        } else {
            let report = within_an_hour(supervisor.wait_for_drain()).await;
            assert_eq!((report.drained, report.took), (5, ms(30)), "{way:?}");
        }
        let ended = told(&recorder, t0, |kind| {
            matches!(kind, EventKind::Terminated { .. })
        });
        assert_eq!(
            ended,
            ["2 stranger", "11 web", "21 api", "26 cache", "31 db"],
            "{way:?}"
        );
    }
}

/// D41: with a dependent that does not stop, everything ends all the same: when its own grace is over, or that of all.
#[tokio::test(start_paused = true)]
async fn a_stuck_dependent_holds_up_the_shutdown_no_longer_than_its_grace() {
    let scene = Scene::new();
    root(&scene, slow("db", 10));
    let options = SpawnOptions::default()
        .with_shutdown_grace(secs(1))
        .after(["db"]);
    let hung = Script::new("api", [Turn::Hang]);
    scene
        .supervisor
        .spawn_service_with_options(hung, options)
        .unwrap();
    settle().await;
    scene.supervisor.trigger_shutdown();
    let report = within_an_hour(scene.supervisor.wait_for_drain()).await;
    assert_eq!(ended(&scene), ["1001 api", "1011 db"]);
    assert_eq!(report.aborted, ["api"]);
    assert_eq!((report.drained, report.took), (1, ms(1_010)));
}

/// D41, F62: the deadline of all.
#[tokio::test(start_paused = true)]
async fn when_the_shutdown_timeout_is_over_before_the_dependents_are_gone_everything_is_dropped() {
    for waits in [true, false] {
        let scene = scene_with(|config| config.with_shutdown_timeout(secs(5)));
        let db = root(&scene, slow("db", 10));
        let hung = Script::new("api", [Turn::Hang]);
        let log = hung.log();
        after(&scene, hung, &["db"]);
        settle().await;
        let Scene {
            supervisor,
            recorder,
            t0,
        } = scene;
        if waits {
            supervisor.trigger_shutdown();
            let report = within_an_hour(supervisor.wait_for_drain()).await;
            assert_eq!(report.aborted, ["db", "api"]);
            assert_eq!((report.drained, report.took), (0, secs(5)));
            assert_eq!(supervisor.metrics().snapshot().active_services, 0);
        } else {
            drop(supervisor);
            within_an_hour(db.terminated()).await;
        }
        assert_eq!((log.in_progress(), log.dropped_early()), (0, 1));
        let mut ended = told(&recorder, t0, |kind| {
            matches!(kind, EventKind::Terminated { .. })
        });
        ended.sort_unstable();
        assert_eq!(ended, ["5001 api", "5001 db"]);
    }
}
