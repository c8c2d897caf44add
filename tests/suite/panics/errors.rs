//! Panics in the errors that runs end with: in their `Display` and in their `Drop`.

use super::{Bomb, Scene};
use janus_supervisor::{BoxService, JanusService, ServiceError, SpawnOptions, service_fn};
use janus_tests::{backoff, secs, settle, within_an_hour};
use std::error::Error;
use std::fmt;

/// Cannot be shown.
#[derive(Debug)]
struct Unspeakable;

impl fmt::Display for Unspeakable {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("no text for you")
    }
}

impl Error for Unspeakable {}

const PANICKED: &str = "<the error's Display panicked>";

/// A10: wherever it is read: in a snapshot, in the reason, in an event, in a log line.
#[tokio::test(start_paused = true)]
async fn a_panic_in_the_display_of_an_error_says_so_in_its_place() {
    let scene = Scene::new();
    let retried = service_fn("retried", |_cancel| async { Err(Unspeakable.into()) });
    let permanent = service_fn("permanent", |_cancel| async {
        Err(ServiceError::permanent(Unspeakable))
    });
    let last_words = service_fn("last words", |cancel| async move {
        cancel.cancelled().await;
        Err(Unspeakable.into())
    });
    let three = SpawnOptions::with_backoff(backoff().with_circuit_breaker(3, secs(60)));
    let mut handles = Vec::new();
    for service in [
        BoxService::new(retried),
        BoxService::new(permanent),
        BoxService::new(last_words),
    ] {
        let handle = scene
            .supervisor
            .spawn_service_with_options(service, three.clone());
        handles.push(handle.unwrap());
    }
    tokio::time::sleep(secs(1)).await;
    let mut reasons = Vec::new();
    for handle in &handles {
        reasons.push(within_an_hour(handle.stop()).await.to_string());
        assert_eq!(handle.snapshot().last_error.as_deref(), Some(PANICKED));
    }
    assert_eq!(
        reasons,
        [
            "circuit breaker open (3/3 failures)".to_owned(),
            format!("unrecoverable: {PANICKED}"),
            "cancelled".to_owned(),
        ]
    );
    assert_eq!(handles[0].snapshot().total_failures, 3);
    assert_eq!(
        scene.trace_of("permanent")[2..],
        [
            format!("0 run 1 failed (error): {PANICKED}"),
            format!("0 run 1 terminated: unrecoverable: {PANICKED}"),
        ]
    );
    scene.end(&[]).await;
}

/// Can be shown, and panics when it is dropped.
struct Explosive {
    _bomb: Bomb,
}

impl fmt::Debug for Explosive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Explosive")
    }
}

impl fmt::Display for Explosive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("handle with care")
    }
}

impl Error for Explosive {}

fn explosive() -> Explosive {
    Explosive { _bomb: Bomb }
}

fn service(name: &'static str, permanent: bool) -> impl JanusService {
    service_fn(name, move |_cancel| async move {
        if permanent {
            Err(ServiceError::permanent(explosive()))
        } else {
            Err(explosive().into())
        }
    })
}

/// A10: whether another error takes its place, or it is the last one and goes with the record.
#[tokio::test(start_paused = true)]
async fn a_panic_in_the_drop_of_an_error_is_contained_wherever_it_is_dropped() {
    let scene = Scene::new();
    // Ten errors, one after the other; then the last one goes with the record.
    let series = scene
        .supervisor
        .spawn_service(service("series", false))
        .unwrap();
    let one = scene
        .supervisor
        .spawn_service(service("one", true))
        .unwrap();
    assert_eq!(
        within_an_hour(one.terminated()).await.to_string(),
        "unrecoverable: handle with care"
    );
    assert_eq!(
        within_an_hour(series.terminated()).await.to_string(),
        "circuit breaker open (10/10 failures)"
    );
    assert_eq!(series.snapshot().total_failures, 10);
    assert_eq!(
        series.snapshot().last_error.as_deref(),
        Some("handle with care")
    );
    // An error that a run drops itself is a panic of the run.
    let dropped = service_fn("dropped", |_cancel| async {
        drop(explosive());
        Ok(())
    });
    let dropped = scene.supervisor.spawn_service(dropped).unwrap();
    settle().await;
    assert_eq!(
        dropped.snapshot().last_error.as_deref(),
        Some("panicked: boom")
    );

    // Nobody else holds the last error of a service that is forgotten.
    drop((series, one));
    scene.supervisor.remove_service("series").unwrap();
    assert_eq!(scene.supervisor.remove_terminated(), 1);
    scene.end(&[]).await;
}
