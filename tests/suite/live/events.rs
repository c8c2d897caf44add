//! What is told and shown: the phases of every kind of life, snapshots, streams, gauges. FIELD G.

use super::supervisor;
use futures_util::{FutureExt, StreamExt};
use janus_metrics_otel::PrometheusExporter;
use janus_supervisor::{
    Group, JanusService, JanusSupervisor, Readiness, RestartPolicy, ServicePhase, SpawnOptions,
    Subscription, SupervisorConfig, TerminationReason, notify, service_fn,
};
use janus_tests::{Recorder, Script, Turn, backoff, config, ms, secs, settle, within_an_hour};
use serde_json::json;
use std::sync::Arc;

/// The phases that a service goes through: for two seconds, then a shutdown, and half a second of grace.
async fn phases(service: impl JanusService, options: SpawnOptions) -> String {
    let (supervisor, recorder, _) = supervisor();
    let name = service.name().to_owned();
    supervisor
        .spawn_service_with_options(service, options.with_shutdown_grace(ms(500)))
        .unwrap();
    tokio::time::sleep(secs(2)).await;
    supervisor.trigger_shutdown();
    within_an_hour(supervisor.wait_for_drain()).await;
    let phases = recorder.phases_of(&name).into_iter();
    let phases: Vec<_> = phases.map(|phase| phase.to_string()).collect();
    phases.join(" ")
}

fn one(turns: impl IntoIterator<Item = Turn>) -> Script {
    Script::new("one", turns)
}

fn plain() -> SpawnOptions {
    SpawnOptions::default()
}

/// Until somebody listens, events are only counted.
#[tokio::test(start_paused = true)]
async fn one_who_begins_to_listen_finds_the_numbers_where_they_are() {
    let supervisor = unheard();
    let quiet = supervisor.spawn_service(idle("quiet")).unwrap();
    assert!(quiet.wait_ready().await);
    let mut events = supervisor.subscribe();
    quiet.stop().await;
    let seqs: Vec<_> = std::iter::from_fn(|| events.next().now_or_never())
        .map(|event| event.unwrap().seq)
        .collect();
    // `Registered` was 0, and `Running` 1.
    assert_eq!(seqs, [2, 3, 4]);
}

#[tokio::test(start_paused = true)]
async fn what_comes_after_an_end_that_nobody_heard_has_the_number_behind_it() {
    let supervisor = unheard();
    let quiet = supervisor
        .spawn_service(service_fn("quiet", |cancel| async move {
            cancel.cancelled().await;
            Err("last words".into())
        }))
        .unwrap();
    settle().await;
    assert_eq!(quiet.stop().await, TerminationReason::Cancelled);
    let counts = supervisor.metrics().snapshot();
    assert_eq!((counts.terminated_total, counts.active_services), (1, 0));
    let mut events = supervisor.subscribe();
    let last = supervisor.remove_service("quiet").unwrap();
    assert_eq!(last.last_error.as_deref(), Some("last words"));
    let removed = events.next().await.unwrap();
    assert_eq!((removed.seq, removed.run), (5, 1));
}

fn unheard() -> JanusSupervisor {
    JanusSupervisor::new(SupervisorConfig::default().without_signal_handler())
}

fn idle(name: &'static str) -> impl JanusService {
    service_fn(name, |cancel| async move {
        cancel.cancelled().await;
        Ok(())
    })
}

/// G78
#[tokio::test(start_paused = true)]
async fn the_phases_of_a_happy_run() {
    assert_eq!(
        phases(one([Turn::Complete.after(secs(1))]), plain()).await,
        "starting running terminated"
    );
}

/// G78
#[tokio::test(start_paused = true)]
async fn the_phases_of_a_stopped_run() {
    assert_eq!(
        phases(one([]), plain()).await,
        "starting running stopping terminated"
    );
}

/// G78
#[tokio::test(start_paused = true)]
async fn the_phases_of_a_failing_run() {
    let turns = [Turn::Fail("x"), Turn::Fail("y"), Turn::until_cancelled()];
    assert_eq!(
        phases(one(turns), plain()).await,
        "starting running backing_off starting running backing_off starting running stopping terminated"
    );
}

/// G78
#[tokio::test(start_paused = true)]
async fn the_phases_of_a_run_that_panics() {
    let turns = [Turn::Panic("x"), Turn::until_cancelled()];
    assert_eq!(
        phases(one(turns), plain()).await,
        "starting running backing_off starting running stopping terminated"
    );
    let last = one([Turn::Panic("x")]).policy(RestartPolicy::Never);
    assert_eq!(phases(last, plain()).await, "starting running terminated");
}

/// G78
#[tokio::test(start_paused = true)]
async fn the_phases_of_a_run_that_panics_while_it_stops() {
    assert_eq!(
        phases(one([Turn::Panic("x").when_cancelled()]), plain()).await,
        "starting running stopping terminated"
    );
}

/// G78
#[tokio::test(start_paused = true)]
async fn the_phases_of_a_run_that_is_aborted() {
    assert_eq!(
        phases(one([Turn::Hang]), plain()).await,
        "starting running stopping terminated"
    );
}

/// G78
#[tokio::test(start_paused = true)]
async fn the_phases_of_a_service_whose_breaker_opens() {
    let breaker = backoff().with_circuit_breaker(2, secs(60));
    assert_eq!(
        phases(one([Turn::Fail("x")]), SpawnOptions::with_backoff(breaker)).await,
        "starting running backing_off starting running terminated"
    );
}

/// G78
#[tokio::test(start_paused = true)]
async fn the_phases_of_a_service_whose_breaker_is_half_open() {
    let breaker = backoff().with_circuit_breaker(1, secs(60));
    let options = SpawnOptions::with_backoff(breaker.with_half_open_after(secs(1)));
    let turns = [Turn::Fail("x"), Turn::until_cancelled()];
    assert_eq!(
        phases(one(turns), options).await,
        "starting running backing_off starting running stopping terminated"
    );
}

/// G78
#[tokio::test(start_paused = true)]
async fn the_phases_of_a_service_that_is_stopped_in_its_backoff() {
    let turns = [Turn::Fail("x").after(ms(1950))];
    assert_eq!(
        phases(one(turns), plain()).await,
        "starting running backing_off stopping terminated"
    );
}

/// G78
#[tokio::test(start_paused = true)]
async fn the_phases_of_runs_that_are_never_ready() {
    let options = plain().with_readiness(Readiness::Notify);
    assert_eq!(
        phases(one([]), options.clone()).await,
        "starting stopping terminated"
    );
    assert_eq!(
        phases(one([]), options.with_start_timeout(ms(1950))).await,
        "starting backing_off stopping terminated"
    );
}

/// G78
#[tokio::test(start_paused = true)]
async fn the_phases_of_a_run_that_hangs() {
    let options = plain().with_watchdog(ms(1950));
    assert_eq!(
        phases(one([Turn::Hang]), options).await,
        "starting running backing_off stopping terminated"
    );
}

/// G80: with the restarts of each; what has ended keeps its place, unless nobody is to remember it.
#[tokio::test(start_paused = true)]
async fn a_snapshot_lists_all_in_their_order_those_that_have_ended_in_their_place() {
    let (supervisor, ..) = supervisor();
    let spawn = |script: Script, options| {
        supervisor
            .spawn_service_with_options(script, options)
            .unwrap();
    };
    spawn(Script::new("z", []), plain());
    spawn(Script::new("done", [Turn::Complete]), plain());
    spawn(Script::new("gone", [Turn::Complete]), plain().ephemeral());
    let fails = Script::new("c", [Turn::Fail("x"), Turn::until_cancelled()]);
    let group = Group::new("g")
        .service(Script::new("d", []))
        .group(Group::new("h").service(fails));
    supervisor.spawn_group(group).unwrap();
    spawn(Script::new("a", []), plain());
    tokio::time::sleep(secs(1)).await;
    let shown = supervisor.snapshot().services.into_iter();
    let shown: Vec<_> = shown
        .map(|it| format!("{} {} {}", it.service_name, it.phase, it.start_count))
        .collect();
    assert_eq!(
        shown,
        [
            "z running 1",
            "done terminated 1",
            "g running 1",
            "g/d running 1",
            "g/h running 1",
            "g/h/c running 2",
            "a running 1",
        ]
    );
}

/// G81
#[tokio::test(start_paused = true)]
async fn a_snapshot_before_anything_was_spawned_is_empty_and_valid() {
    let (supervisor, ..) = supervisor();
    let shown = supervisor.snapshot();
    assert_eq!((shown.services, shown.shutting_down), (vec![], false));
    assert_eq!(shown.metrics, janus_supervisor::MetricsSnapshot::default());
}

/// G81: registered when the spawn returns, and whole before the first poll.
#[tokio::test(start_paused = true)]
async fn a_snapshot_before_the_first_run_is_valid() {
    let (supervisor, ..) = supervisor();
    let it = supervisor.spawn_service(one([])).unwrap();
    let shown = it.snapshot();
    assert_eq!(
        serde_json::to_value(&shown).unwrap(),
        json!({
            "service_name": "one", "phase": "starting", "start_count": 1, "attempt": 0,
            "total_failures": 0, "last_error": null, "last_failure_kind": null,
            "cumulative_running_secs": 0.0, "age_secs": 0.0, "time_in_phase_secs": 0.0,
            "next_retry_secs": null, "termination_reason": null, "status": null, "stuck": false,
        })
    );
    assert_eq!(supervisor.snapshot().services, [shown]);
}

/// G81: after the end of all, and of the supervisor itself.
#[tokio::test(start_paused = true)]
async fn a_snapshot_after_the_end_is_valid_and_stands_still() {
    let (supervisor, ..) = supervisor();
    let it = supervisor.spawn_service(one([])).unwrap();
    tokio::time::sleep(secs(2)).await;
    supervisor.trigger_shutdown();
    within_an_hour(supervisor.wait_for_drain()).await;
    let last = supervisor.snapshot();
    assert!(last.shutting_down);
    drop(supervisor);
    tokio::time::sleep(secs(60)).await;
    let mut shown = it.snapshot();
    assert_eq!((shown.age_secs, shown.cumulative_running_secs), (2.0, 2.0));
    assert_eq!(shown.phase, ServicePhase::Terminated);
    shown.time_in_phase_secs = 0.0;
    assert_eq!(last.services, [shown]);
}

/// G82: neither who looks, nor who says or asks the same again, nor time makes an event.
#[tokio::test(start_paused = true)]
async fn without_a_change_there_is_no_event() {
    let (supervisor, recorder, _) = supervisor();
    let chatty = service_fn("chatty", |cancel| async move {
        while !cancel.is_cancelled() {
            notify::ready();
            notify::heartbeat();
            notify::status("at it");
            tokio::time::sleep(ms(100)).await;
        }
        tokio::time::sleep(secs(5)).await;
        Ok(())
    });
    let options = plain()
        .with_readiness(Readiness::Notify)
        .with_watchdog(ms(500));
    let it = supervisor
        .spawn_service_with_options(chatty, options)
        .unwrap();
    let done = supervisor.spawn_service(one([Turn::Complete])).unwrap();
    within_an_hour(done.terminated()).await;
    tokio::time::sleep(secs(1)).await;
    let told = recorder.events().len();
    tokio::time::sleep(secs(600)).await;
    let _looked = (supervisor.snapshot(), it.snapshot(), supervisor.is_ready());
    done.request_stop();
    done.restart().await.unwrap_err();
    supervisor.remove_service("chatty").unwrap_err();
    assert_eq!(recorder.events().len(), told);

    it.request_stop();
    settle().await;
    tokio::time::sleep(ms(200)).await;
    let told = recorder.events().len();
    it.request_stop();
    supervisor.trigger_shutdown();
    supervisor.trigger_shutdown();
    settle().await;
    assert_eq!(recorder.events().len(), told, "it is stopping already");
}

/// What there is to read without waiting.
fn read(events: &mut Subscription) -> Vec<u64> {
    let next = std::iter::from_fn(|| events.next().now_or_never().flatten());
    next.map(|event| event.seq).collect()
}

/// G83: however long nobody reads, the service goes on as if nobody listened, and its end is known to whoever holds it.
#[tokio::test(start_paused = true)]
async fn the_outcome_is_known_however_far_a_subscriber_is_behind() {
    let recorder = Arc::<Recorder>::default();
    let supervisor = JanusSupervisor::new(config(&recorder).with_event_buffer(1));
    let mut lazy = supervisor.subscribe();
    let breaker = backoff().with_circuit_breaker(500, secs(86_400));
    let it = supervisor
        .spawn_service_with_options(one([Turn::Fail("x")]), SpawnOptions::with_backoff(breaker))
        .unwrap();
    let day = secs(86_400);
    let end = tokio::time::timeout(day, it.terminated()).await.unwrap();
    assert_eq!(end.to_string(), "circuit breaker open (500/500 failures)");
    let all = recorder.events().len() as u64;
    assert!(all > 1_900, "{all}");
    assert_eq!(read(&mut lazy), [all - 1], "the tail");
    assert_eq!(lazy.missed(), all - 1);
}

/// G83
#[tokio::test(start_paused = true)]
async fn a_slow_subscriber_costs_another_nothing() {
    let recorder = Arc::<Recorder>::default();
    let supervisor = JanusSupervisor::new(config(&recorder).with_event_buffer(4));
    let (mut slow, mut quick) = (supervisor.subscribe(), supervisor.subscribe());
    let reader = tokio::spawn(async move {
        let mut seqs = Vec::new();
        while let Some(event) = quick.next().await {
            seqs.push(event.seq);
        }
        (seqs, quick.missed())
    });
    let turns = [Turn::Fail("x"), Turn::Fail("y"), Turn::Complete];
    let it = supervisor.spawn_service(one(turns)).unwrap();
    within_an_hour(it.terminated()).await;
    let all = recorder.events().len() as u64;
    assert_eq!(read(&mut slow), Vec::from_iter(all - 4..all));
    assert_eq!(slow.missed(), all - 4);
    drop((supervisor, it));
    let (seqs, missed) = within_an_hour(reader).await.unwrap();
    assert_eq!((seqs, missed), (Vec::from_iter(0..all), 0));
}

/// G83: who comes late hears what comes after, and has missed nothing of it.
#[tokio::test(start_paused = true)]
async fn a_subscriber_hears_what_happens_from_then_on() {
    let (supervisor, recorder, _) = supervisor();
    let it = supervisor.spawn_service(one([])).unwrap();
    settle().await;
    let before = recorder.events().len() as u64;
    let mut events = supervisor.subscribe();
    assert_eq!(read(&mut events), [0_u64; 0]);
    within_an_hour(it.stop()).await;
    let all = recorder.events().len() as u64;
    assert_eq!(read(&mut events), Vec::from_iter(before..all));
    assert_eq!(events.missed(), 0);
}

/// G83: a stream may be dropped at any time.
#[tokio::test(start_paused = true)]
async fn a_subscriber_that_goes_away_is_not_missed() {
    let (supervisor, recorder, _) = supervisor();
    let (gone, mut stays) = (supervisor.subscribe(), supervisor.subscribe());
    let it = supervisor.spawn_service(one([])).unwrap();
    settle().await;
    drop(gone);
    within_an_hour(it.remove()).await;
    let all = recorder.events().len() as u64;
    assert_eq!(read(&mut stays), Vec::from_iter(0..all));
}

/// G85: the counter and the exported gauge, at once and after each.
#[tokio::test(start_paused = true)]
async fn the_gauge_of_active_services_is_the_truth_after_a_panic_an_abort_and_a_removal() {
    let exporter = PrometheusExporter::new().unwrap();
    let recorder = Arc::<Recorder>::default();
    let supervisor = JanusSupervisor::new(config(&recorder).with_observer(exporter.observer()));
    let active = || {
        let text = exporter.render().unwrap();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("janus_supervisor_active_services "));
        let exported: u64 = line.unwrap().parse().unwrap();
        let counted = supervisor.metrics().snapshot().active_services;
        assert_eq!(exported, counted);
        counted
    };
    let spawn = |script: Script| {
        let options = plain().with_shutdown_grace(ms(100));
        supervisor
            .spawn_service_with_options(script, options)
            .unwrap()
    };
    let panics = Script::new("panics", [Turn::Panic("x").after(secs(1))]);
    let panics = spawn(panics.policy(RestartPolicy::Never));
    let again = spawn(Script::new(
        "again",
        [Turn::Panic("x"), Turn::until_cancelled()],
    ));
    let [hangs, removed, stays] = [Turn::Hang, Turn::until_cancelled(), Turn::until_cancelled()]
        .map(|turn| {
            let name = format!("{turn:?}{}", recorder.events().len());
            spawn(Script::new(name, [turn]))
        });
    settle().await;
    assert_eq!(active(), 5);
    within_an_hour(panics.terminated()).await;
    assert_eq!(again.snapshot().total_failures, 1);
    assert_eq!(active(), 4, "after two panics, one of which was the end");
    assert_eq!(
        within_an_hour(hangs.stop()).await,
        TerminationReason::Aborted
    );
    assert_eq!(active(), 3, "after an abort");
    within_an_hour(removed.remove()).await;
    assert_eq!(active(), 2, "after a removal");
    assert_eq!(supervisor.remove_terminated(), 2);
    assert_eq!(active(), 2, "those had ended before");
    within_an_hour(stays.stop()).await;
    within_an_hour(again.stop()).await;
    assert_eq!(active(), 0);
}

/// G86: what goes over a wire has stable names, down to those in its depth.
#[tokio::test(start_paused = true)]
async fn a_snapshot_of_all_is_serialized_under_stable_names() {
    let (supervisor, ..) = supervisor();
    let it = service_fn("it", |_cancel| async {
        notify::status("replaying");
        tokio::time::sleep(secs(2)).await;
        Err("no route".into())
    });
    let it = supervisor.spawn_service(it).unwrap();
    tokio::time::sleep(secs(1)).await;
    assert_eq!(
        serde_json::to_value(it.snapshot()).unwrap()["status"],
        "replaying"
    );
    tokio::time::sleep(ms(1_050)).await;
    let shown = serde_json::to_value(supervisor.snapshot()).unwrap();
    let near = |at: f64| move |it: &serde_json::Value| (it.as_f64().unwrap() - at).abs() < 1e-6;
    let one = &shown["services"][0];
    assert!(near(0.05)(&one["next_retry_secs"]), "{one}");
    assert!(near(2.05)(&one["age_secs"]), "{one}");
    assert!(near(0.05)(&one["time_in_phase_secs"]), "{one}");
    assert_eq!(
        shown,
        json!({
            "shutting_down": false,
            "metrics": {
                "restarts_total": 0, "active_services": 1, "spawned_total": 1,
                "terminated_total": 0, "circuit_breaker_trips": 0,
            },
            "services": [{
                "service_name": "it", "phase": "backing_off", "start_count": 1, "attempt": 1,
                "total_failures": 1, "last_error": "no route", "last_failure_kind": "error",
                "cumulative_running_secs": 2.0, "age_secs": one["age_secs"],
                "time_in_phase_secs": one["time_in_phase_secs"],
                "next_retry_secs": one["next_retry_secs"], "termination_reason": null,
                "status": null, "stuck": false,
            }],
        })
    );
    let back: janus_supervisor::SupervisorSnapshot = serde_json::from_value(shown).unwrap();
    assert_eq!(back, supervisor.snapshot());
}
