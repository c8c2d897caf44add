//! The drain: who ends how, what the report says of it, and what is left afterwards: nothing.

mod control;
mod grace;
pub(crate) mod lost;
mod owners;
mod report;
mod scale;
mod waiters;

use janus_supervisor::{
    BackoffConfig, JanusSupervisor, RestartPolicy, ServiceHandle, ServicePhase, SpawnOptions,
    TerminationReason, service_fn,
};
use janus_tests::{Recorder, Script, Turn, backoff, config, ms, secs, settle};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use tokio::time::Instant;

/// What each of these services terminated with.
fn reasons(handles: &[ServiceHandle]) -> Vec<Option<TerminationReason>> {
    handles
        .iter()
        .map(ServiceHandle::termination_reason)
        .collect()
}

/// F60
#[tokio::test(start_paused = true)]
async fn cooperative_services_drain_and_the_report_is_clean() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    let t0 = Instant::now().into_std();
    let mut handles = Vec::new();
    for (name, millis) in [("a", 0), ("b", 20), ("c", 50)] {
        let script = Script::new(name, [Turn::Complete.after(ms(millis)).when_cancelled()]);
        handles.push(supervisor.spawn_service(script).unwrap());
    }
    settle().await;
    supervisor.trigger_shutdown();
    let report = supervisor.wait_for_drain().await;

    assert!(report.is_clean());
    assert_eq!((report.drained, report.took), (3, ms(50)));
    assert_eq!(
        reasons(&handles),
        vec![Some(TerminationReason::Cancelled); 3]
    );
    for (name, end) in [("a", 1), ("b", 21), ("c", 51)] {
        assert_eq!(
            recorder.trace_of(name, t0),
            [
                "0 run 1 registered".to_owned(),
                "0 run 1 running".to_owned(),
                "1 run 1 stopping".to_owned(),
                format!("{end} run 1 cancelled"),
                format!("{end} run 1 terminated: cancelled"),
            ]
        );
    }
    let metrics = supervisor.metrics().snapshot();
    assert_eq!((metrics.active_services, metrics.terminated_total), (0, 3));
}

/// F61
#[tokio::test(start_paused = true)]
async fn stubborn_services_are_aborted_and_named_and_the_others_results_are_kept() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder).with_shutdown_timeout(secs(10)));
    let mut handles = Vec::new();
    for script in [
        Script::new("zebra", [Turn::Hang]),
        Script::new("polite", []),
        Script::new(
            "sour",
            [Turn::Fail("disk full").after(secs(5)).when_cancelled()],
        ),
        Script::new("ape", [Turn::Hang]),
    ] {
        handles.push(supervisor.spawn_service(script).unwrap());
    }
    settle().await;
    supervisor.trigger_shutdown();
    let report = supervisor.wait_for_drain().await;

    assert_eq!(report.aborted, ["zebra", "ape"], "in the order of spawning");
    assert_eq!(report.stuck, [""; 0]);
    assert_eq!((report.drained, report.took), (2, secs(10)));
    assert_eq!(
        reasons(&handles),
        [
            Some(TerminationReason::Aborted),
            Some(TerminationReason::Cancelled),
            Some(TerminationReason::Cancelled),
            Some(TerminationReason::Aborted),
        ]
    );
    let sour = handles[2].snapshot();
    assert_eq!(sour.last_error.as_deref(), Some("disk full"));
    assert_eq!(sour.time_in_phase_secs, 5.0);
}

/// F62
#[tokio::test(start_paused = true)]
async fn aborted_service_is_gone_when_the_drain_returns() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder).with_shutdown_timeout(secs(1)));
    let script = Script::new("stubborn", [Turn::Hang]);
    let log = script.log();
    // Lives in the service's value, not in its run.
    let value = Arc::new(());
    let (kept, seen) = (Arc::clone(&value), Arc::downgrade(&value));
    drop(value);
    supervisor.spawn_service(script).unwrap();
    supervisor
        .spawn_service(service_fn("closure", move |_cancel| {
            let _owned_by_the_closure = &kept;
            std::future::pending()
        }))
        .unwrap();
    settle().await;
    assert_eq!(log.in_progress(), 1);
    supervisor.trigger_shutdown();
    let report = supervisor.wait_for_drain().await;

    assert_eq!(report.aborted, ["stubborn", "closure"]);
    assert_eq!((log.in_progress(), log.dropped_early()), (0, 1));
    assert!(seen.upgrade().is_none(), "the service's value is dropped");
    let alive = tokio::runtime::Handle::current()
        .metrics()
        .num_alive_tasks();
    assert_eq!(alive, 0);
}

/// F65: however a run ends while the fleet drains, and whatever its policy, no other run follows.
#[tokio::test(start_paused = true)]
async fn an_end_during_the_drain_is_never_followed_by_another_run() {
    let ends = [
        Turn::Complete,
        Turn::Fail("late"),
        Turn::FailForGood("late"),
        Turn::Panic("late"),
    ];
    for policy in RestartPolicy::ALL {
        for end in &ends {
            // By itself, without a look at the token, and because of it.
            for turn in [
                end.clone().after(secs(2)),
                end.clone().after(secs(1)).when_cancelled(),
            ] {
                let recorder = Arc::new(Recorder::default());
                let supervisor = JanusSupervisor::new(config(&recorder));
                let script = Script::new("one", [turn.clone()]).policy(policy);
                let log = script.log();
                let handle = supervisor.spawn_service(script).unwrap();
                tokio::time::sleep(secs(1)).await;
                supervisor.trigger_shutdown();
                let report = supervisor.wait_for_drain().await;

                let what = format!("{policy}, {turn:?}");
                assert_eq!((report.drained, report.took), (1, secs(1)), "{what}");
                assert!(report.is_clean(), "{what}");
                assert_eq!(
                    handle.termination_reason(),
                    Some(TerminationReason::Cancelled),
                    "{what}"
                );
                assert_eq!(handle.snapshot().start_count, 1, "{what}");
                tokio::time::sleep(secs(600)).await;
                assert_eq!(log.starts(), 1, "{what}");
            }
        }
    }
}

/// F65, F71: what each says on its way out is kept, is not a failure, and stops nobody else.
#[tokio::test(start_paused = true)]
async fn errors_on_the_way_out_are_kept_and_not_counted() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    for (name, turn) in [
        ("error", Turn::Fail("flush failed")),
        ("permanent", Turn::FailForGood("no such bucket")),
        ("panic", Turn::Panic("poisoned")),
        ("clean", Turn::Complete),
    ] {
        let script = Script::new(name, [turn.when_cancelled()]);
        supervisor.spawn_service(script).unwrap();
    }
    settle().await;
    supervisor.trigger_shutdown();
    let report = supervisor.wait_for_drain().await;

    assert!(report.is_clean(), "{report}");
    assert_eq!(report.drained, 4);
    let services = supervisor.snapshot().services;
    let errors: Vec<_> = services
        .iter()
        .map(|service| service.last_error.as_deref())
        .collect();
    assert_eq!(
        errors,
        [
            Some("flush failed"),
            Some("no such bucket"),
            Some("panicked: poisoned"),
            None
        ]
    );
    for service in services {
        assert_eq!(service.total_failures, 0, "{}", service.service_name);
        assert_eq!(
            service.termination_reason.as_deref(),
            Some("cancelled"),
            "{}",
            service.service_name
        );
    }
    let last_words = recorder.trace_of("error", Instant::now().into_std());
    assert_eq!(
        last_words[3..],
        [
            "0 run 1 cancelled, with flush failed",
            "0 run 1 terminated: cancelled"
        ]
    );
}

/// F66
#[tokio::test(start_paused = true)]
async fn a_panic_while_stopping_answers_whoever_waits_and_harms_nobody() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    let rude = Script::new("rude", [Turn::Panic("no").after(secs(1)).when_cancelled()]);
    let rude = supervisor.spawn_service(rude).unwrap();
    let polite = supervisor.spawn_service(Script::new("polite", [])).unwrap();
    settle().await;

    assert_eq!(rude.stop().await, TerminationReason::Cancelled);
    assert_eq!(rude.snapshot().last_error.as_deref(), Some("panicked: no"));
    assert_eq!(polite.phase(), ServicePhase::Running);
    supervisor.trigger_shutdown();
    assert!(supervisor.wait_for_drain().await.is_clean());
}

/// F66: the drop of what is aborted is the user's code, too.
#[tokio::test(start_paused = true)]
async fn a_panic_in_the_drop_of_what_is_aborted_does_not_hold_up_the_drain() {
    struct Rude;
    impl Drop for Rude {
        fn drop(&mut self) {
            panic!("not going quietly");
        }
    }
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder).with_shutdown_timeout(secs(1)));
    let rude = supervisor
        .spawn_service(service_fn("rude", |_cancel| async {
            let _rude = Rude;
            std::future::pending().await
        }))
        .unwrap();
    supervisor.spawn_service(Script::new("polite", [])).unwrap();
    settle().await;
    supervisor.trigger_shutdown();
    let report = supervisor.wait_for_drain().await;

    assert_eq!((report.drained, report.took), (1, secs(1)));
    assert_eq!(report.aborted, ["rude"]);
    assert_eq!(rude.termination_reason(), Some(TerminationReason::Aborted));
    assert_eq!(supervisor.metrics().snapshot().active_services, 0);
}

/// F67: a service that has not been polled yet is `Starting`, and never runs.
#[tokio::test(start_paused = true)]
async fn shutdown_before_the_first_poll_begins_no_run() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    let script = Script::new("late", []).policy(RestartPolicy::Always);
    let log = script.log();
    let handle = supervisor.spawn_service(script).unwrap();
    assert_eq!(handle.phase(), ServicePhase::Starting);
    supervisor.trigger_shutdown();
    let report = supervisor.wait_for_drain().await;

    assert_eq!((report.drained, report.is_clean()), (1, true));
    assert_eq!(log.starts(), 0);
    assert_eq!(
        recorder.trace_of("late", Instant::now().into_std()),
        [
            "0 run 1 registered",
            "0 run 1 stopping",
            "0 run 1 terminated: cancelled"
        ]
    );
}

/// F67: a slow beginning that does not look at its token is waited for like any other work.
#[tokio::test(start_paused = true)]
async fn shutdown_during_a_slow_beginning_ends_with_the_beginning() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    let script = Script::new("slow", [Turn::until_cancelled().after(secs(3))]);
    supervisor.spawn_service(script).unwrap();
    tokio::time::sleep(secs(1)).await;
    supervisor.trigger_shutdown();
    let report = supervisor.wait_for_drain().await;
    assert_eq!((report.drained, report.took), (1, secs(2)));
}

/// F68
#[tokio::test(start_paused = true)]
async fn shutdown_during_a_backoff_is_immediate() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    let hour = secs(3600);
    let patient = BackoffConfig::new(hour, hour).without_circuit_breaker();
    for i in 0..3 {
        let script = Script::new(format!("failing-{i}"), [Turn::Fail("down")]);
        let options = SpawnOptions::with_backoff(patient.clone());
        supervisor
            .spawn_service_with_options(script, options)
            .unwrap();
    }
    settle().await;
    for service in supervisor.snapshot().services {
        assert_eq!(service.phase, ServicePhase::BackingOff);
    }
    supervisor.trigger_shutdown();
    let report = supervisor.wait_for_drain().await;

    assert_eq!((report.drained, report.took), (3, ms(0)));
    for service in supervisor.snapshot().services {
        assert_eq!(service.termination_reason.as_deref(), Some("cancelled"));
        assert_eq!(service.last_error.as_deref(), Some("down"));
        assert_eq!((service.start_count, service.total_failures), (1, 1));
        assert_eq!(service.next_retry_secs, None);
    }
    assert_eq!(supervisor.metrics().snapshot().restarts_total, 0);
}

/// One look at the snapshots shows who holds up the shutdown, and since when.
#[tokio::test(start_paused = true)]
async fn whoever_holds_up_the_shutdown_is_visible_as_stopping() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    supervisor.spawn_service(Script::new("quick", [])).unwrap();
    let slow = Script::new("slow", [Turn::Complete.after(secs(9)).when_cancelled()]);
    supervisor.spawn_service(slow).unwrap();
    supervisor
        .spawn_service(Script::new("stubborn", [Turn::Hang]))
        .unwrap();
    settle().await;
    assert!(!supervisor.snapshot().shutting_down);
    supervisor.trigger_shutdown();
    assert!(supervisor.is_shutting_down());

    let seen_after = async |wait| {
        tokio::time::sleep(wait).await;
        let snapshot = supervisor.snapshot();
        assert!(snapshot.shutting_down);
        let stopping = snapshot
            .services
            .into_iter()
            .filter(|service| service.phase == ServicePhase::Stopping);
        stopping
            .map(|service| (service.service_name, service.time_in_phase_secs))
            .collect::<Vec<_>>()
    };
    let expected = |names: &[&str], since: f64| {
        let names = names.iter().map(|name| ((*name).to_owned(), since));
        names.collect::<Vec<_>>()
    };
    assert_eq!(
        seen_after(secs(5)).await,
        expected(&["slow", "stubborn"], 5.0)
    );
    assert_eq!(seen_after(secs(5)).await, expected(&["stubborn"], 10.0));
    let report = supervisor.wait_for_drain().await;
    assert_eq!(report.aborted, ["stubborn"]);
    assert_eq!(seen_after(ms(0)).await, expected(&[], 0.0));
}

/// A service that stops itself as soon as it sees the token is not counted twice, nor one that had ended long before.
#[tokio::test(start_paused = true)]
async fn only_what_the_shutdown_ended_counts_as_drained() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder).with_shutdown_timeout(secs(1)));
    let trip = SpawnOptions::with_backoff(backoff().with_circuit_breaker(1, secs(1)));
    let hung = SpawnOptions::default().with_shutdown_grace(ms(0));
    for (script, options) in [
        (
            Script::new("done", [Turn::Complete]),
            SpawnOptions::default(),
        ),
        (Script::new("tripped", [Turn::Fail("x")]), trip),
        (Script::new("hung", [Turn::Hang]), hung),
        (Script::new("alive", []), SpawnOptions::default()),
    ] {
        supervisor
            .spawn_service_with_options(script, options)
            .unwrap();
    }
    settle().await;
    let hung = supervisor.service("hung").unwrap();
    assert_eq!(hung.stop().await, TerminationReason::Aborted);
    settle().await;
    supervisor.trigger_shutdown();
    let report = supervisor.wait_for_drain().await;
    assert_eq!(report.drained, 1);
    assert!(
        report.is_clean(),
        "what was aborted before was no part of it"
    );
}

/// A run that watches no token, but whose token's children do.
#[tokio::test(start_paused = true)]
async fn a_child_of_the_services_token_is_cancelled_with_it() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    let cancelled = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&cancelled);
    supervisor
        .spawn_service(service_fn("parent", move |cancel| {
            let count = Arc::clone(&count);
            async move {
                let workers = (0..3).map(|_| {
                    let (child, count) = (cancel.child_token(), Arc::clone(&count));
                    tokio::spawn(async move {
                        child.cancelled().await;
                        count.fetch_add(1, SeqCst);
                    })
                });
                for worker in workers.collect::<Vec<_>>() {
                    worker.await?;
                }
                Ok(())
            }
        }))
        .unwrap();
    settle().await;
    supervisor.trigger_shutdown();
    assert!(supervisor.wait_for_drain().await.is_clean());
    assert_eq!(cancelled.load(SeqCst), 3);
}
