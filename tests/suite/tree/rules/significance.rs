//! OTP's cases of significant children, for groups.

use super::*;
use janus_supervisor::AutoShutdown::{AllSignificant, AllTerminated, AnySignificant, Never};

/// What a group with one significant child, or none, and a steady one comes to when that child ends.
async fn outcome(
    rule: AutoShutdown,
    options: SpawnOptions,
    script: Script,
) -> (ServicePhase, Option<String>) {
    let scene = Scene::new();
    let group = Group::new("g")
        .auto_shutdown(rule)
        .service_with_options(script, options)
        .service(steady("steady"));
    scene.spawn(group);
    tokio::time::sleep(ms(50)).await;
    let snapshot = scene.snapshot("g");
    let steady = scene.snapshot("g/steady").phase;
    assert_eq!(snapshot.phase, steady, "together or not at all");
    (snapshot.phase, snapshot.termination_reason)
}

/// OTP: nonsignificant_temporary, nonsignificant_transient.
#[tokio::test(start_paused = true)]
async fn no_end_of_a_child_that_is_not_significant_ends_the_group() {
    for rule in [Never, AnySignificant, AllSignificant, AllTerminated] {
        for policy in [RestartPolicy::Never, RestartPolicy::OnFailure] {
            for end in ENDS {
                let what = format!("{rule} {policy} {end:?}");
                let script = ends("child", policy, end);
                let (phase, _) = outcome(rule, SpawnOptions::default(), script).await;
                assert_eq!(phase, ServicePhase::Running, "{what}");
            }
        }
    }
}

/// OTP: significant_temporary.
#[tokio::test(start_paused = true)]
async fn any_end_of_a_significant_child_that_is_never_restarted_ends_the_group() {
    for rule in [AnySignificant, AllSignificant] {
        for end in ENDS {
            let what = format!("{rule} {end:?}");
            let clean = matches!(end, Turn::Complete);
            let script = ends("child", RestartPolicy::Never, end);
            let (phase, reason) = outcome(rule, significant(), script).await;
            assert_eq!(phase, ServicePhase::Terminated, "{what}");
            let reason = reason.unwrap();
            if clean {
                assert_eq!(reason, "completed", "{what}");
            } else {
                let failed = "unrecoverable: g/child has failed for good: ";
                assert!(reason.starts_with(failed), "{what}: {reason}");
                assert!(reason.ends_with('x'), "{what}: {reason}");
            }
        }
    }
}

/// OTP: significant_transient: a failure is followed by a restart, not by the end of the group.
#[tokio::test(start_paused = true)]
async fn a_significant_child_that_is_restarted_has_not_ended() {
    for rule in [AnySignificant, AllSignificant] {
        for end in ENDS {
            let what = format!("{rule} {end:?}");
            let expected = match end {
                Turn::Complete | Turn::FailForGood(_) => ServicePhase::Terminated,
                _ => ServicePhase::Running,
            };
            let script = ends("child", RestartPolicy::OnFailure, end);
            let (phase, _) = outcome(rule, significant(), script).await;
            assert_eq!(phase, expected, "{what}");
        }
    }
}

/// OTP: significant_temporary, significant_transient: the part with an operator.
#[tokio::test(start_paused = true)]
async fn an_operators_stop_of_a_significant_child_ends_nothing() {
    for rule in [AnySignificant, AllSignificant] {
        let scene = Scene::new();
        let group = Group::new("g")
            .auto_shutdown(rule)
            .service_with_options(steady("child"), significant())
            .service_with_options(
                Script::new("deaf", [Turn::Hang]),
                significant().with_shutdown_grace(ms(0)),
            );
        let group = scene.spawn(group);
        settle().await;
        for (name, reason) in [
            ("g/child", TerminationReason::Cancelled),
            ("g/deaf", TerminationReason::Aborted),
        ] {
            let child = scene.supervisor.service(name).unwrap();
            assert_eq!(child.stop().await, reason);
            settle().await;
            assert_eq!(group.phase(), ServicePhase::Running, "{rule} {name}");
        }
        assert_eq!(group.stop().await, TerminationReason::Cancelled);
    }
}

/// OTP: significant_temporary with `all_significant`: only the last one counts, and it has to end by itself.
#[tokio::test(start_paused = true)]
async fn under_all_significant_the_last_one_to_end_by_itself_ends_the_group() {
    let three = || {
        let child = |name: &str, millis| Script::new(name, [Turn::Complete.after(ms(millis))]);
        Group::new("g")
            .auto_shutdown(AllSignificant)
            .service_with_options(child("a", 30), significant())
            .service_with_options(child("b", 10), significant())
            .service_with_options(child("c", 20), significant())
            .service(steady("other"))
    };
    let scene = Scene::new();
    let group = scene.spawn(three());
    assert_eq!(
        within_an_hour(group.terminated()).await,
        TerminationReason::Completed
    );
    assert_eq!(
        ended(&scene),
        ["10 g/b", "20 g/c", "30 g/a", "30 g/other", "30 g"]
    );

    // The last one is stopped by an operator: as OTP has it, the group goes on, without any significant child.
    let scene = Scene::new();
    let group = scene.spawn(three());
    tokio::time::sleep(ms(25)).await;
    scene.supervisor.service("g/a").unwrap().request_stop();
    tokio::time::sleep(ms(100)).await;
    assert_eq!(group.phase(), ServicePhase::Running);

    // One that is stopped earlier is one less to wait for.
    let scene = Scene::new();
    let group = scene.spawn(three());
    settle().await;
    scene.supervisor.service("g/c").unwrap().request_stop();
    within_an_hour(group.terminated()).await;
    assert_eq!(ended(&scene).last().unwrap(), "30 g");
}

/// D44: the rest is stopped in order, and that is a clean end.
#[tokio::test(start_paused = true)]
async fn when_the_work_is_done_the_others_stop_in_reverse_and_the_group_has_completed() {
    let scene = Scene::new();
    let group = Group::new("g")
        .auto_shutdown(AnySignificant)
        .service(slow("a", 10))
        .service_with_options(
            ends("job", RestartPolicy::OnFailure, Turn::Complete),
            significant(),
        )
        .service(slow("b", 10));
    let group = scene.spawn(group);
    assert_eq!(
        within_an_hour(group.terminated()).await,
        TerminationReason::Completed
    );
    assert_eq!(ended(&scene), ["10 g/job", "20 g/b", "30 g/a", "30 g"]);
    assert_all_over(&scene);
}

/// D44: a group whose policy is `Always` begins again when its work is done, with children that know nothing of before.
#[tokio::test(start_paused = true)]
async fn a_group_that_always_runs_does_its_work_again() {
    let scene = Scene::new();
    let group = Group::new("g")
        .restart_policy(RestartPolicy::Always)
        .auto_shutdown(AnySignificant)
        .service_with_options(
            Script::new("job", [Turn::Complete.after(ms(10))]),
            significant(),
        );
    scene.spawn(group);
    tokio::time::sleep(ms(500)).await;
    assert_eq!(scene.snapshot("g").start_count, 5);
    assert_eq!(scene.snapshot("g").total_failures, 0);
    assert_eq!(scene.snapshot("g/job").start_count, 1);
    assert_eq!(
        started(&scene)[..4],
        ["0 g/job", "0 g", "110 g/job", "110 g"]
    );
}

/// OTP: significant_bystander.
#[tokio::test(start_paused = true)]
async fn a_significant_child_that_is_stopped_for_a_siblings_sake_ends_nothing() {
    for rule in [AnySignificant, AllSignificant] {
        for strategy in [Strategy::OneForAll, Strategy::RestForOne] {
            for policy in [RestartPolicy::Never, RestartPolicy::OnFailure] {
                let what = format!("{rule} {strategy} {policy}");
                let scene = Scene::new();
                let group = Group::new("g")
                    .strategy(strategy)
                    .auto_shutdown(rule)
                    .service(ends("fails", RestartPolicy::OnFailure, Turn::Fail("x")))
                    .service_with_options(steady("bystander").policy(policy), significant());
                let group = scene.spawn(group);
                tokio::time::sleep(ms(500)).await;
                assert_eq!(group.phase(), ServicePhase::Running, "{what}");
                assert_eq!(scene.snapshot("g/fails").phase, ServicePhase::Running);
                let bystander = scene.snapshot("g/bystander");
                let expected = if policy == RestartPolicy::Never {
                    (ServicePhase::Terminated, 1)
                } else {
                    (ServicePhase::Running, 2)
                };
                assert_eq!((bystander.phase, bystander.start_count), expected, "{what}");
            }
        }
    }
}

/// OTP: significant_escalation.
#[tokio::test(start_paused = true)]
async fn a_nested_groups_end_ends_its_parent_only_if_the_nested_one_is_significant() {
    for (is_significant, end) in [
        (true, Turn::Complete),
        (false, Turn::Complete),
        (true, Turn::FailForGood("x")),
        (false, Turn::FailForGood("x")),
    ] {
        let what = format!("{is_significant} {end:?}");
        let clean = matches!(end, Turn::Complete);
        let scene = Scene::new();
        let inner = Group::new("inner")
            .auto_shutdown(AnySignificant)
            .service_with_options(ends("job", RestartPolicy::OnFailure, end), significant())
            .service(steady("inside"));
        let inner = if is_significant {
            inner.significant()
        } else {
            inner
        };
        let outer = Group::new("g")
            .auto_shutdown(AnySignificant)
            .service(steady("beside"))
            .group(inner);
        let group = scene.spawn(outer);
        tokio::time::sleep(ms(50)).await;
        assert_eq!(
            scene.snapshot("g/inner").phase,
            ServicePhase::Terminated,
            "{what}"
        );
        let reason = match (is_significant, clean) {
            (false, _) => None,
            (true, true) => Some("completed"),
            (true, false) => Some(
                "unrecoverable: g/inner has failed for good: g/inner/job has failed for good: x",
            ),
        };
        let got = group.termination_reason().map(|reason| reason.to_string());
        assert_eq!(got.as_deref(), reason, "{what}");
        let beside = if is_significant {
            ServicePhase::Terminated
        } else {
            ServicePhase::Running
        };
        assert_eq!(scene.snapshot("g/beside").phase, beside, "{what}");
    }
}

/// D44, D46: ours besides OTP's.
#[tokio::test(start_paused = true)]
async fn under_all_terminated_a_group_ends_with_its_last_child_however_that_ends() {
    for (last, by_operator, reason) in [
        (Turn::Complete, false, "completed"),
        (Turn::Hang, true, "completed"),
        (
            Turn::FailForGood("x"),
            false,
            "unrecoverable: g/b has failed for good: x",
        ),
    ] {
        let scene = Scene::new();
        let group = Group::new("g")
            .auto_shutdown(AllTerminated)
            .service(Script::new("a", [Turn::Complete]))
            .service_with_options(
                Script::new("b", [last.after(ms(10))]),
                SpawnOptions::default().with_shutdown_grace(ms(0)),
            );
        let group = scene.spawn(group);
        settle().await;
        assert_eq!(group.phase(), ServicePhase::Running);
        if by_operator {
            scene.supervisor.service("g/b").unwrap().stop().await;
        }
        let got = within_an_hour(group.terminated()).await;
        assert_eq!(got.to_string(), reason);
    }
    // A failure before the last end is not forgotten.
    let scene = Scene::new();
    let group = Group::new("g")
        .auto_shutdown(AllTerminated)
        .service(Script::new("a", [Turn::FailForGood("x")]))
        .service(ends("b", RestartPolicy::OnFailure, Turn::Complete));
    // One-for-one: the first one's end leaves the second alone, unless it is part of the start.
    let group = scene.spawn(group);
    let reason = within_an_hour(group.terminated()).await;
    assert!(
        matches!(reason, TerminationReason::Unrecoverable(_)),
        "{reason}"
    );
}

/// D45: a group without children, and one under a rule that looks at ends.
#[tokio::test(start_paused = true)]
async fn an_empty_group_idles_until_it_is_stopped() {
    for rule in [Never, AnySignificant, AllSignificant, AllTerminated] {
        let scene = Scene::new();
        let group = scene.spawn(Group::new("g").auto_shutdown(rule));
        tokio::time::sleep(secs(100)).await;
        assert_eq!(group.phase(), ServicePhase::Running, "{rule}");
        assert_eq!(group.stop().await, TerminationReason::Cancelled);
    }
}

/// Whoever ends last may have ended well.
#[tokio::test(start_paused = true)]
async fn a_group_that_ends_in_failure_names_the_child_that_has_failed() {
    for rule in [AllSignificant, AllTerminated] {
        let scene = Scene::new();
        let options = || match rule {
            AllSignificant => significant(),
            _ => SpawnOptions::default(),
        };
        let lost = ends(
            "lost",
            RestartPolicy::Never,
            Turn::FailForGood("disk on fire"),
        );
        let done = ends("done", RestartPolicy::Never, Turn::Complete.after(ms(20)));
        let group = Group::new("g")
            .auto_shutdown(rule)
            .service_with_options(lost, options())
            .service_with_options(done, options());
        scene.spawn(group);
        tokio::time::sleep(ms(50)).await;
        let end = scene.snapshot("g").termination_reason;
        let expected = "unrecoverable: g/lost has failed for good: disk on fire";
        assert_eq!(end.as_deref(), Some(expected), "{rule}");
    }
}
