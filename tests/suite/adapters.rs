//! Other shapes of code as services.

mod blocking;
mod module;

use janus_supervisor::{
    BoxService, CancellationToken, JanusService, JanusSupervisor, RestartPolicy, ServiceError,
    TerminationReason, service_fn,
};
use janus_tests::{Recorder, Script, Turn, config, ms};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

/// What is asked of every shape: that it is still the same service.
fn shown(service: &impl JanusService) -> (String, RestartPolicy) {
    (service.name().to_owned(), service.restart_policy())
}

#[tokio::test(start_paused = true)]
async fn a_closure_is_called_once_for_each_run() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    let calls = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&calls);
    let service = service_fn("closure", move |_cancel| {
        let call = count.fetch_add(1, SeqCst) + 1;
        async move {
            if call < 3 {
                return Err(format!("call {call}").into());
            }
            Ok(())
        }
    });
    assert_eq!(
        shown(&service),
        ("closure".to_owned(), RestartPolicy::OnFailure)
    );
    let handle = supervisor.spawn_service(service).unwrap();
    assert_eq!(handle.terminated().await, TerminationReason::Completed);
    assert_eq!(calls.load(SeqCst), 3);
    assert_eq!(handle.snapshot().last_error.as_deref(), Some("call 2"));
}

/// The names of closures may be made at run time, and so may their futures.
#[tokio::test(start_paused = true)]
async fn a_closure_may_return_a_boxed_future() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    let mut handles = Vec::new();
    for i in 0..3 {
        let service = service_fn(format!("feed-{i}"), |cancel| {
            let run: std::pin::Pin<Box<dyn Future<Output = Result<(), ServiceError>> + Send>> =
                Box::pin(async move {
                    cancel.cancelled().await;
                    Ok(())
                });
            run
        });
        handles.push(supervisor.spawn_service(service).unwrap());
    }
    tokio::task::yield_now().await;
    for handle in handles {
        assert_eq!(handle.stop().await, TerminationReason::Cancelled);
    }
}

/// The policy of each of them is obeyed, not only kept.
#[tokio::test(start_paused = true)]
async fn a_closure_has_the_policy_it_was_given() {
    for (policy, runs) in [
        (RestartPolicy::Always, 3),
        (RestartPolicy::OnFailure, 2),
        (RestartPolicy::Never, 1),
    ] {
        let recorder = Arc::new(Recorder::default());
        let supervisor = JanusSupervisor::new(config(&recorder));
        let count = Arc::new(AtomicU32::new(0));
        let calls = Arc::clone(&count);
        let service = service_fn("closure", move |cancel: CancellationToken| {
            let call = calls.fetch_add(1, SeqCst);
            async move {
                match call {
                    0 => Err("first".into()),
                    1 => Ok(()),
                    _ => {
                        cancel.cancelled().await;
                        Ok(())
                    }
                }
            }
        })
        .with_restart_policy(policy);
        assert_eq!(shown(&service), ("closure".to_owned(), policy));
        supervisor.spawn_service(service).unwrap();
        tokio::time::sleep(ms(1000)).await;
        assert_eq!(count.load(SeqCst), runs, "{policy}");
    }
}

/// A box, a shared pointer and a boxed service of unknown type, in any order: all the same service.
#[tokio::test(start_paused = true)]
async fn a_service_in_a_box_is_the_service() {
    let script = || {
        Script::new(
            "one",
            [Turn::Fail("a"), Turn::Complete, Turn::FailForGood("c")],
        )
        .policy(RestartPolicy::Always)
    };
    let shapes: [BoxService; 6] = [
        BoxService::new(script()),
        BoxService::new(Box::new(script())),
        BoxService::new(Arc::new(script())),
        BoxService::new(Arc::new(Box::new(script()))),
        BoxService::new(Box::new(BoxService::new(script()))),
        BoxService::new(Arc::new(BoxService::new(script()))),
    ];
    let mut traces = Vec::new();
    for shape in shapes {
        let recorder = Arc::new(Recorder::default());
        let supervisor = JanusSupervisor::new(config(&recorder));
        let t0 = tokio::time::Instant::now().into_std();
        assert_eq!(shown(&shape), ("one".to_owned(), RestartPolicy::Always));
        let handle = supervisor.spawn_service(shape).unwrap();
        let reason = TerminationReason::Unrecoverable("c".into());
        assert_eq!(handle.terminated().await, reason);
        traces.push(recorder.trace_of("one", t0));
    }
    assert_eq!(traces[0].len(), 12, "{:#?}", traces[0]);
    for trace in &traces[1..] {
        assert_eq!(trace, &traces[0]);
    }
}

/// A supervisor takes the name without a copy from whoever has it to give, in any box; what somebody else can ask, too,
/// keeps it.
#[test]
fn a_name_is_given_away_where_nobody_else_can_ask_for_it() {
    let name: Arc<str> = "one".into();
    let service = || service_fn(Arc::clone(&name), cancelled);
    let mut shapes = [
        BoxService::new(service()),
        BoxService::new(Box::new(service())),
        BoxService::new(Arc::new(service())),
        BoxService::new(BoxService::new(service())),
    ];
    for shape in &mut shapes {
        assert!(Arc::ptr_eq(&shape.take_name(), &name), "{shape:?}");
        assert_eq!(shape.name(), "");
    }
    let shared = Arc::new(service());
    assert_eq!(&*Arc::clone(&shared).take_name(), "one");
    assert_eq!(shared.name(), "one");
    assert_eq!(&*Plain.take_name(), "plain");
}

#[tokio::test(start_paused = true)]
async fn different_services_fit_one_list() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    let services: Vec<BoxService> = vec![
        BoxService::new(Script::new("script", [])),
        BoxService::new(service_fn("function", cancelled)),
        BoxService::new(Plain),
    ];
    assert_eq!(format!("{:?}", services[1]), "BoxService(\"function\")");
    for service in services {
        supervisor.spawn_service(service).unwrap();
    }
    tokio::task::yield_now().await;
    supervisor.trigger_shutdown();
    assert_eq!(supervisor.wait_for_drain().await.drained, 3);
    let services = supervisor.snapshot().services.into_iter();
    let names: Vec<_> = services.map(|service| service.service_name).collect();
    assert_eq!(names, ["script", "function", "plain"]);
}

async fn cancelled(cancel: CancellationToken) -> Result<(), ServiceError> {
    cancel.cancelled().await;
    Ok(())
}

/// The least that a service needs.
struct Plain;

impl JanusService for Plain {
    fn name(&self) -> &str {
        "plain"
    }

    async fn run(&self, cancel: CancellationToken) -> Result<(), ServiceError> {
        cancelled(cancel).await
    }
}

/// A value that is shared is one value: what a run changes, the program sees.
#[tokio::test(start_paused = true)]
async fn a_shared_service_stays_in_the_programs_hands() {
    #[derive(Default)]
    struct Counter(AtomicU32);
    impl JanusService for Counter {
        fn name(&self) -> &str {
            "counter"
        }
        async fn run(&self, _cancel: CancellationToken) -> Result<(), ServiceError> {
            match self.0.fetch_add(1, SeqCst) {
                0..4 => Err("not yet".into()),
                _ => Ok(()),
            }
        }
    }
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    let counter = Arc::new(Counter::default());
    let handle = supervisor.spawn_service(Arc::clone(&counter)).unwrap();
    handle.terminated().await;
    assert_eq!(counter.0.load(SeqCst), 5);
    assert_eq!(Arc::strong_count(&counter), 1, "and comes back");
}

#[derive(Debug)]
struct Link(&'static str, Option<Box<Link>>);

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Link {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.1.as_deref().map(|link| link as _)
    }
}

/// `?` takes errors of any make, and all of what they say is shown.
#[tokio::test(start_paused = true)]
async fn errors_of_every_make_are_shown_with_their_causes() {
    let own = || {
        Link(
            "outer",
            Some(Box::new(Link("middle", Some(Box::new(Link("root", None)))))),
        )
    };
    type Fail = fn(&dyn Fn() -> Link) -> Result<(), ServiceError>;
    let fails: [(Fail, &str); 5] = [
        (|own| Err(own())?, "outer: middle: root"),
        (
            |own| Err(anyhow::Error::new(own()).context("context"))?,
            "context: outer: middle: root",
        ),
        (|_| Err(anyhow::anyhow!("no such file"))?, "no such file"),
        (|_| Err("text")?, "text"),
        (
            |_| {
                "x".parse::<u16>()?;
                Ok(())
            },
            "invalid digit found in string",
        ),
    ];
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    for (fail, text) in fails {
        let service = service_fn("failing", move |_cancel| async move { fail(&own) })
            .with_restart_policy(RestartPolicy::Never);
        let handle = supervisor.spawn_service(service).unwrap();
        let reason = handle.terminated().await;
        assert_eq!(reason, TerminationReason::Unrecoverable(text.to_owned()));
        assert_eq!(handle.snapshot().last_error.as_deref(), Some(text));
    }
}
