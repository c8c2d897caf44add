//! A group as the service that it is: its own policy, backoff, breaker and name.

use super::*;

/// A1-A3 for a group: what follows when it has failed as a whole.
#[tokio::test(start_paused = true)]
async fn a_group_that_has_failed_is_restarted_unless_its_policy_is_never() {
    for policy in RestartPolicy::ALL {
        let scene = Scene::new();
        let group = scene.spawn(fragile("g", [50]).restart_policy(policy));
        until(scene.t0, 1000).await;
        if policy == RestartPolicy::Never {
            assert_eq!(
                group.termination_reason().unwrap().to_string(),
                "unrecoverable: more than 0 restarts within 5s: g/q was to run again after 1 start: it broke"
            );
            assert_eq!(scene.phases_in("g"), [ServicePhase::Terminated; 2]);
        } else {
            assert_eq!(group.phase(), ServicePhase::Running, "{policy}");
            assert_eq!(group.snapshot().start_count, 2);
            assert_eq!(scene.phases_in("g"), [ServicePhase::Running; 2]);
        }
        scene.audit();
    }
}

/// A1-A3 for a group: what follows when its work is done.
#[tokio::test(start_paused = true)]
async fn a_group_that_is_done_runs_again_only_under_always() {
    use janus_supervisor::AutoShutdown;
    for policy in RestartPolicy::ALL {
        let scene = Scene::new();
        let group = Group::new("g")
            .auto_shutdown(AutoShutdown::AllTerminated)
            .restart_policy(policy)
            .service(Script::new("a", [Turn::Complete.after(ms(50))]))
            .service(Script::new("b", [Turn::Complete.after(ms(20))]));
        let group = scene.spawn(group);
        until(scene.t0, 149).await;
        let after_one = scene.recorder.trace_of("g", scene.t0);
        until(scene.t0, 151).await;
        if policy == RestartPolicy::Always {
            assert_eq!(
                after_one[2..],
                ["50 run 1 completed", "50 run 1 backing off #0 for 100ms"]
            );
            assert_eq!(scene.phases_in("g"), [ServicePhase::Running; 2]);
            assert_eq!(group.snapshot().start_count, 2);
        } else {
            assert_eq!(
                after_one[2..],
                ["50 run 1 completed", "50 run 1 terminated: completed"]
            );
        }
        scene.audit();
    }
}

/// C31, D39: the group's own breaker.
#[tokio::test(start_paused = true)]
async fn a_group_whose_own_breaker_opens_has_terminated_with_all_in_it() {
    let scene = Scene::new();
    let group = fragile("g", [50; 9]).backoff(breaker(3));
    let group = scene.spawn(group);
    let reason = within_an_hour(group.terminated()).await;
    let expected = TerminationReason::CircuitBreakerOpen {
        failures: 3,
        max_retries: 3,
    };
    assert_eq!(reason, expected);
    assert_eq!(scene.elapsed(), 350);
    assert_eq!(scene.phases_in("g"), [ServicePhase::Terminated; 2]);
    let metrics = scene.supervisor.metrics().snapshot();
    assert_eq!(
        (metrics.active_services, metrics.circuit_breaker_trips),
        (0, 1)
    );
    assert_eq!(
        metrics.spawned_total, 7,
        "the group, and its two for each run"
    );
    scene.audit();
}

/// D39, SUT TestServiceAndTreeTermination: a breaker inside a tree is a lost child to the parent.
#[tokio::test(start_paused = true)]
async fn a_nested_group_whose_breaker_opens_is_a_lost_child() {
    for strategy in STRATEGIES {
        let scene = Scene::new();
        let top = Group::new("top")
            .strategy(strategy)
            .intensity(PLENTY)
            .restart_policy(RestartPolicy::Never)
            .service(steady("a"))
            .group(fragile("g", [50; 9]).backoff(breaker(2)));
        let top = scene.spawn(top);
        until(scene.t0, 1000).await;
        if strategy == Strategy::OneForOne {
            assert_eq!(top.phase(), ServicePhase::Running);
            assert_eq!(scene.snapshot("top/g").phase, ServicePhase::Terminated);
        } else {
            assert_eq!(
                top.termination_reason().unwrap().to_string(),
                "unrecoverable: top/g has failed for good: circuit breaker open (2/2 failures): \
                 more than 0 restarts within 5s: top/g/q was to run again after 1 start: it broke",
                "{strategy}"
            );
        }
        scene.audit();
    }
}

/// B11, B16 for a group: its delays are a ladder, and a run that lasts clears it.
#[tokio::test(start_paused = true)]
async fn a_group_backs_off_and_recovers_as_any_service() {
    let scene = Scene::new();
    scene.spawn(fragile("g", [50, 50, 50]));
    until(scene.t0, 400_000).await;
    let trace = scene.recorder.trace_of("g", scene.t0);
    let ladder = trace.iter().filter(|line| line.contains("backing off"));
    assert_eq!(
        ladder.collect::<Vec<_>>(),
        [
            "50 run 1 backing off #1 for 100ms",
            "200 run 2 backing off #2 for 200ms",
            "450 run 3 backing off #3 for 400ms"
        ]
    );
    assert_eq!(trace.last().unwrap(), "300850 run 4 recovered");
    assert_eq!(scene.snapshot("g").attempt, 0);
    scene.audit();
}

/// D40: nothing of a group that has terminated is left when another takes its place.
#[tokio::test(start_paused = true)]
async fn a_group_that_takes_the_place_of_another_has_its_own_children_and_no_others() {
    let scene = Scene::new();
    let deep = Group::new("deep").service(steady("x"));
    let old = Group::new("g").service(steady("a")).service(steady("b"));
    let old = scene.spawn(old.group(deep));
    settle().await;
    assert_eq!(
        within_an_hour(old.stop()).await,
        TerminationReason::Cancelled
    );
    scene.spawn(Group::new("g").service(steady("b")).service(steady("c")));
    settle().await;
    let names = scene.phases().into_iter().map(|(name, ..)| name);
    assert_eq!(names.collect::<Vec<_>>(), ["g", "g/b", "g/c"]);
    let stories = Story::of_each(&scene.recorder.events()).unwrap();
    let removed = stories.values().filter(|story| story.removed).count();
    assert_eq!(removed, 5, "the old group and all in it");
}

/// D40: nor are its children missed when somebody forgets them while it waits for its next run.
#[tokio::test(start_paused = true)]
async fn children_that_were_removed_while_their_group_backs_off_are_registered_anew() {
    let scene = Scene::new();
    scene.spawn(fragile("g", [50]));
    until(scene.t0, 100).await;
    assert_eq!(scene.supervisor.remove_terminated(), 2);
    assert_eq!(scene.phases_in("g"), []);
    until(scene.t0, 1000).await;
    assert_eq!(scene.phases_in("g"), [ServicePhase::Running; 2]);
    scene.audit();
}
