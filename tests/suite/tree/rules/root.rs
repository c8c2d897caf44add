//! The supervisor itself: its work, and its patience.

use super::*;
use AutoShutdown::{AllSignificant, AllTerminated, AnySignificant};
use janus_supervisor::{GroupError, ShutdownReport, SupervisorError};
use std::error::Error;

fn scene(rule: AutoShutdown) -> Scene {
    scene_with(|config| config.with_auto_shutdown(rule))
}

fn spawn(scene: &Scene, script: Script, options: SpawnOptions) {
    let spawned = scene.supervisor.spawn_service_with_options(script, options);
    assert!(spawned.is_ok());
}

async fn run(scene: &Scene) -> Result<ShutdownReport, SupervisorError> {
    within_an_hour(scene.supervisor.run_until_shutdown()).await
}

fn impatient(max_restarts: u32) -> Scene {
    scene_with(|config| config.with_intensity(Intensity::new(max_restarts, secs(1))))
}

/// D46, D44
#[tokio::test(start_paused = true)]
async fn it_ends_by_itself_when_a_significant_service_has_done_its_work() {
    let scene = scene(AnySignificant);
    spawn(&scene, slow("db", 5), SpawnOptions::default());
    let plain = ends("plain", RestartPolicy::OnFailure, Turn::Complete);
    spawn(&scene, plain, SpawnOptions::default());
    let job = Script::new("job", [Turn::Complete.after(ms(20))]);
    spawn(&scene, job, significant());
    let report = run(&scene).await.unwrap();
    assert_eq!(report.cause, ShutdownCause::WorkDone);
    assert_eq!(report.exit_code(), 0);
    assert_eq!(report.to_string(), "shutdown (work done): 1 drained in 5ms");
    assert_eq!(ended(&scene), ["10 plain", "20 job", "25 db"]);
    assert_all_over(&scene);
}

/// D44: exit code 1, so that an outer supervisor notices.
#[tokio::test(start_paused = true)]
async fn a_significant_service_that_fails_for_good_is_work_that_failed() {
    for (end, what) in [
        (Turn::FailForGood("x"), "x"),
        (Turn::Fail("x"), "x"),
        (Turn::Panic("x"), "panicked: x"),
    ] {
        let scene = scene(AnySignificant);
        spawn(&scene, steady("db"), SpawnOptions::default());
        spawn(
            &scene,
            ends("job", RestartPolicy::Never, end),
            significant(),
        );
        let report = run(&scene).await.unwrap();
        assert_eq!(report.cause, ShutdownCause::WorkFailed);
        assert!(report.drain.is_clean());
        assert_eq!(report.exit_code(), 1);
        assert_eq!(
            report.to_string(),
            format!("shutdown (work failed: job has failed for good: {what}): 1 drained in 0ms")
        );
    }
}

/// D44: an operator's stop, a restart, and an end of any other do not count.
#[tokio::test(start_paused = true)]
async fn it_goes_on_when_a_significant_service_was_stopped_or_is_restarted() {
    for rule in [AnySignificant, AllSignificant] {
        let scene = scene(rule);
        spawn(&scene, steady("stopped"), significant());
        let fails = ends("fails", RestartPolicy::OnFailure, Turn::Fail("x"));
        spawn(&scene, fails, significant());
        let other = ends("other", RestartPolicy::Never, Turn::Panic("x"));
        spawn(&scene, other, SpawnOptions::default());
        settle().await;
        scene.supervisor.service("stopped").unwrap().stop().await;
        tokio::time::sleep(ms(500)).await;
        assert!(!scene.supervisor.is_shutting_down(), "{rule}");
        assert_eq!(scene.snapshot("fails").start_count, 2);
    }
}

/// D44: dynamic: services that come and go.
#[tokio::test(start_paused = true)]
async fn under_all_significant_the_last_one_ends_it() {
    let scene = scene(AllSignificant);
    let job = |name: &str| ends(name, RestartPolicy::OnFailure, Turn::Complete);
    spawn(&scene, job("a"), significant());
    spawn(&scene, steady("b"), significant());
    spawn(&scene, steady("other"), SpawnOptions::default());
    tokio::time::sleep(ms(50)).await;
    assert!(!scene.supervisor.is_shutting_down());
    scene.supervisor.service("b").unwrap().stop().await;
    tokio::time::sleep(ms(50)).await;
    assert!(!scene.supervisor.is_shutting_down(), "it was stopped");
    spawn(&scene, job("a"), significant());
    let report = run(&scene).await.unwrap();
    assert_eq!(
        (report.cause, report.exit_code()),
        (ShutdownCause::WorkDone, 0)
    );
}

/// D46: every service has ended, by itself or by an operator.
#[tokio::test(start_paused = true)]
async fn under_all_terminated_it_ends_with_the_last_service() {
    let scene = scene(AllTerminated);
    let group = Group::new("g")
        .auto_shutdown(AllTerminated)
        .service(Script::new("inside", [Turn::Complete]));
    scene.spawn(group);
    spawn(&scene, steady("a"), SpawnOptions::default());
    let b = ends("b", RestartPolicy::OnFailure, Turn::Complete);
    spawn(&scene, b, SpawnOptions::default());
    tokio::time::sleep(ms(50)).await;
    assert!(!scene.supervisor.is_shutting_down());
    scene.supervisor.service("a").unwrap().request_stop();
    let report = run(&scene).await.unwrap();
    assert_eq!(
        (report.cause, report.exit_code()),
        (ShutdownCause::WorkDone, 0)
    );
    assert_eq!(report.to_string(), "shutdown (work done): 0 drained in 0ms");
    assert_eq!(ended(&scene), ["0 g/inside", "0 g", "10 b", "50 a"]);
}

/// D46: one that failed for good is not forgotten when the last one ends well.
#[tokio::test(start_paused = true)]
async fn under_all_terminated_a_failure_is_remembered() {
    let scene = scene(AllTerminated);
    let lost = Script::new("lost", [Turn::FailForGood("x")]);
    spawn(&scene, lost, SpawnOptions::default());
    let b = ends("b", RestartPolicy::OnFailure, Turn::Complete);
    spawn(&scene, b, SpawnOptions::default());
    let report = run(&scene).await.unwrap();
    assert_eq!(
        (report.cause, report.exit_code()),
        (ShutdownCause::WorkFailed, 1)
    );
    assert_eq!(
        report.to_string(),
        "shutdown (work failed: lost has failed for good: x): 0 drained in 0ms"
    );
}

/// D45: a supervisor has to be filled first.
#[tokio::test(start_paused = true)]
async fn without_services_it_idles_and_all_terminated_is_looked_at_when_one_ends() {
    for rule in [
        AutoShutdown::Never,
        AnySignificant,
        AllSignificant,
        AllTerminated,
    ] {
        let scene = scene(rule);
        let idle = tokio::time::timeout(secs(100), scene.supervisor.run_until_shutdown());
        assert!(idle.await.is_err(), "{rule}");
        // Forgetting one is not an end.
        let one = scene.supervisor.spawn_service(steady("one")).unwrap();
        settle().await;
        assert!(!scene.supervisor.is_shutting_down());
        one.stop().await;
        settle().await;
        let done = rule == AllTerminated;
        assert_eq!(scene.supervisor.is_shutting_down(), done, "{rule}");
        if !done {
            scene.supervisor.remove_service("one").unwrap();
            settle().await;
            assert!(!scene.supervisor.is_shutting_down());
        }
    }
}

/// D44: whoever asks first is the cause.
#[tokio::test(start_paused = true)]
async fn a_shutdown_that_was_requested_is_not_mistaken_for_work_that_is_done() {
    for rule in [AnySignificant, AllSignificant, AllTerminated] {
        let scene = scene(rule);
        let options = if rule == AllTerminated {
            SpawnOptions::default()
        } else {
            significant()
        };
        spawn(&scene, steady("a"), options);
        settle().await;
        scene.supervisor.trigger_shutdown();
        let report = run(&scene).await.unwrap();
        assert_eq!(report.cause, ShutdownCause::Requested);
    }
}

/// C23, C31: one more than is tolerated, of all services together.
#[tokio::test(start_paused = true)]
async fn it_gives_up_with_the_story_when_its_intensity_is_exceeded() {
    let scene = impatient(2);
    spawn(&scene, slow("db", 5), SpawnOptions::default());
    for name in ["a", "b"] {
        let turns = [Turn::Fail("down").after(ms(10))];
        spawn(&scene, Script::new(name, turns), SpawnOptions::default());
    }
    let error = run(&scene).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the supervisor gave up: more than 2 restarts within 1s: a was to run again after 2 starts"
    );
    let SupervisorError::GaveUp { source, report } = &error else {
        unreachable!("{error}")
    };
    assert!(matches!(
        source,
        GroupError::IntensityExceeded { child, intensity, starts: 2, last_failure: Some(last), .. }
            if child == "a"
                && *intensity == Intensity::new(2, secs(1))
                && last.to_string() == "down"
    ));
    let chain = error.source().unwrap();
    assert_eq!(chain.source().unwrap().to_string(), "down");
    assert_eq!(
        (report.cause, report.exit_code()),
        (ShutdownCause::GaveUp, 1)
    );
    let why = "more than 2 restarts within 1s: a was to run again after 2 starts: down";
    let text = format!("shutdown (gave up: {why}): 3 drained in 5ms");
    assert_eq!(report.to_string(), text);
    // 0 and 10 are the first runs and failures, 110 the second.
    assert_eq!(started(&scene), ["0 db", "0 a", "0 b", "110 a", "110 b"]);
    assert_all_over(&scene);
    // Everybody gets the same answer, also afterwards.
    assert_eq!(
        run(&scene).await.unwrap_err().to_string(),
        error.to_string()
    );
}

/// C24
#[tokio::test(start_paused = true)]
async fn without_any_patience_the_first_restart_is_one_too_many() {
    let scene = impatient(0);
    let clean = ends("a", RestartPolicy::Always, Turn::Complete);
    spawn(&scene, clean, SpawnOptions::default());
    let error = run(&scene).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the supervisor gave up: more than 0 restarts within 1s: a was to run again after 1 start"
    );
    assert!(
        error.source().unwrap().source().is_none(),
        "it never failed"
    );
}

/// C25, OTP: multiple_restarts.
#[tokio::test(start_paused = true)]
async fn restarts_within_its_patience_and_ends_without_a_restart_are_tolerated() {
    let scene = impatient(1);
    let turns = [Turn::Fail("x").after(ms(1_100))];
    spawn(&scene, Script::new("a", turns), SpawnOptions::default());
    for i in 0..10 {
        let name = format!("job{i}");
        let end = ENDS[i % 4].clone();
        spawn(
            &scene,
            ends(&name, RestartPolicy::Never, end),
            SpawnOptions::default(),
        );
    }
    tokio::time::sleep(secs(10)).await;
    assert!(!scene.supervisor.is_shutting_down());
    assert!(scene.snapshot("a").start_count > 4);
}

/// C30: what happens inside a group is the group's affair; the group's own restarts count.
#[tokio::test(start_paused = true)]
async fn restarts_inside_a_group_do_not_count_and_those_of_the_group_do() {
    let scene = impatient(1);
    let many = Intensity::new(1_000, secs(1));
    let turns = [Turn::Fail("x").after(ms(10))];
    let patient = Group::new("patient")
        .intensity(many)
        .service(Script::new("inside", turns.clone()));
    scene.spawn(patient);
    tokio::time::sleep(secs(2)).await;
    assert!(!scene.supervisor.is_shutting_down());
    assert!(scene.snapshot("patient/inside").start_count > 3);

    let fragile = Group::new("fragile")
        .intensity(Intensity::new(0, secs(1)))
        .service(Script::new("inside", turns));
    scene.spawn(fragile);
    let error = run(&scene).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the supervisor gave up: more than 1 restart within 1s: fragile was to run again after 2 starts"
    );
    let text = error.source().unwrap().source().unwrap().to_string();
    assert_eq!(
        text,
        "more than 0 restarts within 1s: fragile/inside was to run again after 1 start"
    );
    assert_all_over(&scene);
}

/// A shutdown that was begun by somebody else keeps its cause.
#[tokio::test(start_paused = true)]
async fn during_a_shutdown_it_no_longer_gives_up() {
    let scene = impatient(0);
    spawn(&scene, slow("a", 50), SpawnOptions::default());
    let turns = [Turn::Fail("x").when_cancelled()];
    spawn(&scene, Script::new("b", turns), SpawnOptions::default());
    settle().await;
    scene.supervisor.trigger_shutdown();
    let report = run(&scene).await.unwrap();
    assert_eq!(
        (report.cause, report.exit_code()),
        (ShutdownCause::Requested, 0)
    );
}
