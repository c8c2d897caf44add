//! The driver decides nothing: a history through tokio is the history that the machine tells by itself.

use super::{In, event, give, ms, t0};
use In::{Clean, Fail, Gone, Panic, Permanent, Start, Stop, Tick};
use janus_supervisor::machine::ServiceMachine;
use janus_supervisor::{
    BackoffConfig, BackoffState, JanusSupervisor, Jitter, Observer, RestartPolicy, ServiceError,
    ServiceEvent, SpawnOptions, SupervisorConfig, service_fn,
};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;

const GRACE: Duration = ms(30);

fn config() -> BackoffConfig {
    BackoffConfig::new(ms(100), ms(400))
        .with_jitter(Jitter::None)
        .with_circuit_breaker(3, ms(60_000))
        .with_cooldown(ms(10_000))
}

/// A run: how long it lasts, and how it ends. One that is `stubborn` never does.
#[derive(Clone, Copy)]
struct Run(u64, In);

/// The history of a service by its machine: `time seq run event`.
fn by_machine(policy: RestartPolicy, inputs: &[(u64, In)]) -> Vec<String> {
    let t0 = t0();
    let backoff = BackoffState::new(config(), 1);
    let mut machine = ServiceMachine::new(t0, "it", backoff, GRACE);
    // The one event that is the caller's.
    let mut told = vec![format!("0 #{} 1 registered", machine.take_seq())];
    for (at, input) in inputs {
        let Ok(step) = give(&mut machine, t0 + ms(*at), policy, *input) else {
            told.push(format!("{at} {input:?} was refused"));
            continue;
        };
        for (seq, happened) in (step.first_seq..).zip(&step.happened) {
            let (run, what) = (happened.run, event(&happened.kind));
            told.push(format!("{at} #{seq} {run} {what}"));
        }
    }
    told
}

struct Witness {
    t0: Instant,
    told: Mutex<Vec<String>>,
}

impl Observer for Witness {
    fn observe(&self, what: &ServiceEvent) {
        let at = Instant::from_std(what.at).duration_since(self.t0);
        let line = format!(
            "{} #{} {} {}",
            at.as_millis(),
            what.seq,
            what.run,
            event(&what.kind)
        );
        if let Ok(mut told) = self.told.lock() {
            told.push(line);
        }
    }
}

#[expect(clippy::panic, reason = "panicking is what was asked for")]
fn panic_as_asked() -> Result<(), ServiceError> {
    panic!("ouch")
}

/// The history of a service under tokio, where a stop comes from outside.
async fn by_tokio(policy: RestartPolicy, runs: Vec<Run>, stop_at: Option<u64>) -> Vec<String> {
    let t0 = Instant::now();
    let witness = Arc::new(Witness {
        t0,
        told: Mutex::default(),
    });
    let settings = SupervisorConfig::default()
        .without_signal_handler()
        .with_observer(Arc::clone(&witness) as Arc<_>);
    let supervisor = JanusSupervisor::new(settings);
    let begun = AtomicUsize::new(0);
    let service = service_fn("it", move |_cancel| {
        let run = runs.get(begun.fetch_add(1, SeqCst)).copied();
        async move {
            let Some(Run(lasts, end)) = run else {
                return std::future::pending().await;
            };
            tokio::time::sleep(ms(lasts)).await;
            match end {
                Clean => Ok(()),
                Permanent => Err(ServiceError::permanent("boom")),
                Panic => panic_as_asked(),
                _ => Err("boom".into()),
            }
        }
    });
    let options = SpawnOptions::with_backoff(config()).with_shutdown_grace(GRACE);
    let Ok(handle) =
        supervisor.spawn_service_with_options(service.with_restart_policy(policy), options)
    else {
        return Vec::new();
    };
    if let Some(millis) = stop_at {
        tokio::time::sleep_until(t0 + ms(millis)).await;
        handle.stop().await;
    }
    handle.terminated().await;
    let told = witness.told.lock().map(|told| told.clone());
    told.unwrap_or_default()
}

/// A panic's text comes with a word before it under tokio, where it is a real one.
fn same_words(told: Vec<String>) -> Vec<String> {
    let told = told.into_iter();
    told.map(|line| line.replace("panicked: ouch", "ouch"))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_life_with_everything_in_it_is_the_same_by_hand_and_under_tokio() {
    let by_hand = [
        (0, Start),
        (5, Fail),
        (105, Tick),
        (112, Panic),
        (312, Tick),
        // Up for the cooldown.
        (10_312, Tick),
        (12_312, Fail),
        (12_412, Tick),
        (12_412, Clean),
        (12_512, Tick),
        (12_513, Fail),
        (12_613, Tick),
        (15_000, Stop),
        // It never ends by itself.
        (15_030, Tick),
        (15_030, Gone),
    ];
    let runs = vec![
        Run(5, Fail),
        Run(7, Panic),
        Run(12_000, Fail),
        Run(0, Clean),
        Run(1, Fail),
    ];
    let told = by_machine(RestartPolicy::Always, &by_hand);
    assert_eq!(told.len(), 26, "{told:#?}");
    assert_eq!(
        same_words(by_tokio(RestartPolicy::Always, runs, Some(15_000)).await),
        told
    );
}

#[tokio::test(start_paused = true)]
async fn every_way_to_end_is_the_same_by_hand_and_under_tokio() {
    use RestartPolicy::{Always, Never, OnFailure};
    for (policy, by_hand, runs, stop_at) in [
        (
            OnFailure,
            vec![(0, Start), (3, Clean)],
            vec![Run(3, Clean)],
            None,
        ),
        (
            Never,
            vec![(0, Start), (3, Panic)],
            vec![Run(3, Panic)],
            None,
        ),
        (
            Always,
            vec![(0, Start), (3, Permanent)],
            vec![Run(3, Permanent)],
            None,
        ),
        (
            Always,
            vec![
                (0, Start),
                (0, Fail),
                (100, Tick),
                (100, Fail),
                (300, Tick),
                (300, Fail),
            ],
            vec![Run(0, Fail); 3],
            None,
        ),
        // Stopped in a delay; with an error on the way out; in time, at the last moment; too late.
        (
            OnFailure,
            vec![(0, Start), (0, Fail), (50, Stop)],
            vec![Run(0, Fail)],
            Some(50),
        ),
        (
            OnFailure,
            vec![(0, Start), (50, Stop), (60, Fail)],
            vec![Run(60, Fail)],
            Some(50),
        ),
        (
            OnFailure,
            vec![(0, Start), (50, Stop), (80, Clean)],
            vec![Run(80, Clean)],
            Some(50),
        ),
        (
            OnFailure,
            vec![(0, Start), (50, Stop), (80, Tick), (80, Gone)],
            vec![Run(81, Clean)],
            Some(50),
        ),
        // Before the first poll.
        (OnFailure, vec![(0, Stop)], vec![], Some(0)),
    ] {
        let told = by_machine(policy, &by_hand);
        assert_eq!(
            same_words(by_tokio(policy, runs, stop_at).await),
            told,
            "{policy} {by_hand:?}"
        );
    }
}
