//! What an operator reads.

use janus_supervisor::{
    AutoShutdown, BackoffConfig, CancellationToken, Group, Intensity, JanusService,
    JanusSupervisor, Jitter, Readiness, RestartPolicy, ServiceError, SpawnOptions, service_fn,
};
use janus_tests::{Recorder, Script, Turn, config, ms, secs};
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock};
use tracing::Dispatch;
use tracing::field::{Field, Visit};
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

/// The lines at level `info` or above: their level, whose they are, and what they say.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    /// What is logged on this thread, for as long as the guard is there.
    fn of_this_thread() -> (Self, DefaultGuard) {
        // Where there is only one subscriber, whether a line is of interest is asked of the thread that first comes to
        // it, which may have none.
        static ANOTHER: OnceLock<Dispatch> = OnceLock::new();
        ANOTHER.get_or_init(|| Dispatch::new(tracing_subscriber::registry()));
        let lines = Self::default();
        let reader = tracing_subscriber::registry().with(lines.clone());
        (lines, tracing::subscriber::set_default(reader))
    }

    /// What has been read, in order.
    #[expect(clippy::unwrap_used, reason = "part of a test")]
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

#[derive(Default)]
struct Line {
    service: String,
    message: String,
    /// What else it says: of a shutdown.
    details: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            name @ ("cause" | "report") => self.details = format!(" {name}={value:?}"),
            _ => {}
        }
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "service" {
            self.service = value.to_owned();
        }
    }
}

impl<S: tracing::Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        if *event.metadata().level() <= tracing::Level::INFO {
            let mut line = Line::default();
            event.record(&mut line);
            if let Ok(mut lines) = self.0.lock() {
                let level = event.metadata().level();
                let Line {
                    service,
                    message,
                    details,
                } = line;
                lines.push(format!("{level} {service} {message}{details}"));
            }
        }
    }
}

/// What is read in a minute while a group of this child fails again and again, ten times a second.
#[expect(clippy::unwrap_used, reason = "part of a test")]
async fn a_minute_of(child: impl JanusService, readiness: Readiness) -> Vec<String> {
    let (lines, _read) = Lines::of_this_thread();
    let supervisor = JanusSupervisor::new(config(&Arc::<Recorder>::default()));
    let backoff = BackoffConfig::new(ms(100), ms(100));
    let backoff = backoff.with_jitter(Jitter::None).without_circuit_breaker();
    let options = SpawnOptions::with_backoff(backoff.clone()).with_readiness(readiness);
    let inner = Group::new("inner")
        .intensity(Intensity::new(0, secs(5)))
        .backoff(backoff)
        .service_with_options(child, options);
    let patient = Intensity::new(1_000, secs(5));
    let outer = Group::new("outer").intensity(patient).group(inner);
    let outer = supervisor.spawn_group(outer).unwrap();
    tokio::time::sleep(secs(59)).await;
    let mut read = lines.take();
    read.sort_unstable();
    let inner = supervisor.service("outer/inner").unwrap().snapshot();
    assert!(inner.start_count > 500, "{inner:?}");
    outer.stop().await;
    read
}

/// Each of its runs makes its children anew, and none of them has a minute of its own.
#[tokio::test(start_paused = true)]
async fn a_crash_loop_of_a_group_costs_a_few_lines_a_minute() {
    let fails = service_fn("child", |_cancel| async {
        tokio::time::sleep(ms(1)).await;
        Err("x".into())
    });
    assert_eq!(
        a_minute_of(fails, Readiness::Immediate).await,
        [
            "INFO outer service running",
            "INFO outer/inner service running",
            "INFO outer/inner/child service running",
            "INFO outer/inner/child service terminated",
            "WARN outer/inner service failed",
            "WARN outer/inner/child service failed",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn so_does_one_whose_child_fails_for_good_each_time() {
    let fails = service_fn("child", |_cancel| async {
        Err(ServiceError::permanent("no key"))
    });
    assert_eq!(
        a_minute_of(fails, Readiness::Notify).await,
        [
            "ERROR outer/inner/child service failed for good",
            "ERROR outer/inner/child service terminated",
            "WARN outer/inner service failed",
        ]
    );
}

/// Whatever begins it.
#[tokio::test(start_paused = true)]
async fn a_shutdown_is_told_of_from_its_beginning_to_its_end() {
    let (lines, _read) = Lines::of_this_thread();
    let settings = || config(&Arc::<Recorder>::default());
    let api = || Script::new("api", []);

    let supervisor = JanusSupervisor::new(settings());
    supervisor.spawn_service(api()).unwrap();
    let run = supervisor.run_until_shutdown();
    tokio::join!(async { run.await.unwrap() }, async {
        supervisor.cancel_token().cancel();
    });
    let read = lines.take();
    assert_eq!(read.first().unwrap(), "INFO  shutting down cause=requested");
    let end = "INFO  supervisor shut down report=shutdown (requested): 1 drained in 0ms";
    assert_eq!(read.last().unwrap(), end);
    supervisor.run_until_shutdown().await.unwrap();
    drop(supervisor);
    assert!(lines.take().is_empty(), "once");

    // The beginner's mistake.
    let supervisor = JanusSupervisor::new(settings());
    let handle = supervisor.spawn_service(api()).unwrap();
    drop(supervisor);
    handle.terminated().await;
    tokio::time::sleep(ms(1)).await;
    let read = lines.take();
    let begins = "INFO  shutting down cause=supervisor dropped";
    assert_eq!(read.first().unwrap(), begins);

    // One that has done its work may go without a word.
    let supervisor = JanusSupervisor::new(settings());
    let done = Script::new("done", [Turn::Complete]);
    supervisor.spawn_service(done).unwrap().terminated().await;
    lines.take();
    drop(supervisor);
    tokio::time::sleep(ms(1)).await;
    assert!(lines.take().is_empty());
}

/// What a shutdown is told by that something has failed.
#[tokio::test(start_paused = true)]
async fn a_shutdown_by_a_failure_says_loudly_what_has_failed() {
    let (lines, _read) = Lines::of_this_thread();
    let settings = config(&Arc::<Recorder>::default());
    let settings = settings.with_auto_shutdown(AutoShutdown::AnySignificant);
    let supervisor = JanusSupervisor::new(settings.with_shutdown_timeout(secs(1)));
    let stubborn = Script::new("stubborn", [Turn::Hang]);
    supervisor.spawn_service(stubborn).unwrap();
    let options = SpawnOptions::default().significant();
    let job = Script::new("job", [Turn::Fail("no key").after(ms(1))]).policy(RestartPolicy::Never);
    supervisor.spawn_service_with_options(job, options).unwrap();
    let report = supervisor.run_until_shutdown().await.unwrap();
    assert_eq!(
        report.failure.as_deref(),
        Some("job has failed for good: no key")
    );
    let read = lines.take();
    let begins = "ERROR  shutting down cause=work failed";
    assert!(read.iter().any(|line| line == begins), "{read:?}");
    let ends = "WARN  supervisor shut down report=shutdown (work failed: job has failed for good: no key): \
        0 drained, aborted: stubborn in 1.0s";
    assert_eq!(read.last().unwrap(), ends);
}

/// Its run is dropped, and it goes on: nobody else says so.
#[tokio::test(start_paused = true)]
async fn a_restart_that_drops_a_run_says_so() {
    let (lines, _read) = Lines::of_this_thread();
    let supervisor = JanusSupervisor::new(config(&Arc::<Recorder>::default()));
    let options = SpawnOptions::default().with_shutdown_grace(ms(5));
    let deaf = Script::new("deaf", [Turn::Hang]);
    let deaf = supervisor.spawn_service_with_options(deaf, options.clone());
    let rude = service_fn("rude", |cancel: CancellationToken| async move {
        cancel.cancelled().await;
        Err("no".into())
    });
    let rude = supervisor.spawn_service_with_options(rude, options);
    tokio::time::sleep(ms(1)).await;
    lines.take();
    deaf.unwrap().restart().await.unwrap();
    rude.unwrap().restart().await.unwrap();
    let expected = [
        "WARN deaf run dropped: it did not end in time, and another follows",
        "WARN rude run stopped with an error, and another follows",
    ];
    assert_eq!(lines.take(), expected);
}

/// Nobody has asked it to stop.
#[test]
fn a_service_that_is_lost_with_its_runtime_is_told_of_as_lost() {
    let (lines, _read) = Lines::of_this_thread();
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_time().build().unwrap();
    let supervisor = JanusSupervisor::new(config(&Arc::<Recorder>::default()));
    let options = SpawnOptions::default().on(runtime.handle().clone());
    let lost = Script::new("lost", []);
    supervisor
        .spawn_service_with_options(lost, options)
        .unwrap();
    drop(runtime);
    let read = lines.take();
    let line = "WARN lost service lost: its runtime has gone away";
    assert!(read.iter().any(|read| read == line), "{read:?}");
}
