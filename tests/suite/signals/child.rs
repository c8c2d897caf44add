//! The parts that the other process plays.

use super::{CASE, MARK};
use janus_supervisor::{
    CancellationToken, JanusService, JanusSupervisor, ServiceError, SpawnOptions, SupervisorConfig,
    service_fn,
};
use janus_tests::secs;
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};

/// Does nothing, unless this process was started by one of the tests in [`super`].
#[test]
fn play() {
    let Ok(case) = std::env::var(CASE) else {
        return;
    };
    match case.as_str() {
        "drain" => runtime().block_on(async {
            let supervisor = JanusSupervisor::with_defaults();
            supervisor.spawn_service(service("polite", true)).unwrap();
            run(&supervisor).await;
        }),
        "stubborn" => runtime().block_on(async {
            let config = SupervisorConfig::default().with_shutdown_timeout(secs(3600));
            let supervisor = JanusSupervisor::new(config);
            supervisor
                .spawn_service(service("stubborn", false))
                .unwrap();
            run(&supervisor).await;
        }),
        "early" => runtime().block_on(async {
            let supervisor = JanusSupervisor::with_defaults();
            let done = service_fn("done", |_cancel| async { Ok(()) });
            supervisor.spawn_service(done).unwrap().terminated().await;
            say("made");
            wait_for_the_parent();
            run(&supervisor).await;
        }),
        "early, without a service" => {
            let runtime = runtime();
            let inside = runtime.enter();
            let supervisor = JanusSupervisor::with_defaults();
            drop(inside);
            say("made");
            wait_for_the_parent();
            runtime.block_on(run(&supervisor));
        }
        "early, on one thread" => {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let supervisor = JanusSupervisor::with_defaults();
                say("made");
                wait_for_the_parent();
                run(&supervisor).await;
            });
        }
        "outside" => {
            let supervisor = JanusSupervisor::with_defaults();
            runtime().block_on(async {
                supervisor.spawn_service(quiet()).unwrap();
                say("made");
                wait_for_the_parent();
                run(&supervisor).await;
            });
        }
        "without handlers" => runtime().block_on(async {
            let config = SupervisorConfig::default().without_signal_handler();
            let supervisor = JanusSupervisor::new(config);
            supervisor.spawn_service(service("polite", true)).unwrap();
            run(&supervisor).await;
        }),
        "requested" => runtime().block_on(async {
            let supervisor = JanusSupervisor::with_defaults();
            supervisor.spawn_service(leaving()).unwrap();
            wait_for_the_parent();
            supervisor.trigger_shutdown();
            run(&supervisor).await;
        }),
        "two" => runtime().block_on(async {
            let both = [
                JanusSupervisor::with_defaults(),
                JanusSupervisor::with_defaults(),
            ];
            for supervisor in &both {
                supervisor.spawn_service(quiet()).unwrap();
            }
            say("ready");
            let [one, other] = both.each_ref().map(run);
            tokio::join!(one, other);
        }),
        "without an I/O driver" => without_an_io_driver(),
        "the first runtime has gone" => {
            let (first, second) = (runtime(), runtime());
            let supervisor = first.block_on(async {
                let supervisor = JanusSupervisor::with_defaults();
                let job = service_fn("job", |_cancel| async { Ok(()) });
                supervisor.spawn_service(job).unwrap().terminated().await;
                supervisor
            });
            second.block_on(async {
                supervisor.spawn_service(quiet()).unwrap();
                let (gone, waits) = (std::thread::spawn(|| drop(first)), run(&supervisor));
                tokio::pin!(waits);
                tokio::select! {
                    biased;
                    () = &mut waits => {}
                    () = std::future::ready(()) => {
                        gone.join().unwrap();
                        say("ready");
                        waits.await;
                    }
                }
            });
        }
        "spawned from elsewhere" => {
            let (first, second, elsewhere) = (runtime(), runtime(), runtime());
            let supervisor = JanusSupervisor::with_defaults();
            let spawn = |name: &'static str| {
                let options = SpawnOptions::default().on(elsewhere.handle().clone());
                let service = service_fn(name, |cancel| async move {
                    cancel.cancelled().await;
                    Ok(())
                });
                supervisor.spawn_service_with_options(service, options)
            };
            let inside = first.enter();
            spawn("one").unwrap();
            drop(inside);
            drop(first);
            second.block_on(async {
                let other = spawn("other").unwrap();
                say("ready");
                other.terminated().await;
                let report = supervisor.wait_for_drain().await;
                say(&format!("{} drained in time", report.drained));
            });
        }
        other => panic!("no such part: {other}"),
    }
}

/// Spawns services where signals cannot be heard, in all ways that there are, and says how many panics that has cost.
#[expect(clippy::unwrap_used, reason = "part of a test")]
fn without_an_io_driver() {
    static PANICS: AtomicUsize = AtomicUsize::new(0);
    std::panic::set_hook(Box::new(|_| {
        PANICS.fetch_add(1, Relaxed);
    }));
    let without = || Builder::new_current_thread().enable_time().build().unwrap();
    let (runtime, other) = (without(), without());
    let supervisor = JanusSupervisor::with_defaults();
    let inside = runtime.enter();
    let mut jobs = Vec::new();
    for i in 0..10 {
        let options = SpawnOptions::default().on(other.handle().clone());
        for (name, options) in [("here", SpawnOptions::default()), ("elsewhere", options)] {
            let job = service_fn(format!("{name} {i}"), |_cancel| async { Ok(()) });
            jobs.push(supervisor.spawn_service_with_options(job, options).unwrap());
        }
    }
    drop(inside);
    for (job, runtime) in jobs.iter().zip([&runtime, &other].into_iter().cycle()) {
        runtime.block_on(job.terminated());
    }
    say(&format!("{} panics", PANICS.load(Relaxed)));
    drop((runtime, other));
    // They are heard from the first runtime on that can.
    self::runtime().block_on(async {
        supervisor.spawn_service(quiet()).unwrap();
        say("ready");
        run(&supervisor).await;
    });
}

/// A runtime as `#[tokio::main]` makes it.
#[expect(clippy::unwrap_used, reason = "part of a test")]
fn runtime() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

/// Says that it is ready, and that it was asked to stop; then does so, or not.
fn service(name: &'static str, stops: bool) -> impl JanusService {
    service_fn(name, move |cancel: CancellationToken| async move {
        say("ready");
        cancel.cancelled().await;
        say("stopping");
        if !stops {
            std::future::pending::<()>().await;
        }
        Ok::<_, ServiceError>(())
    })
}

/// When it is asked to stop, it waits for a signal, as the supervisor does, and then until it is let go.
fn leaving() -> impl JanusService {
    service_fn("leaving", |cancel: CancellationToken| async move {
        let mut terminate = signal(SignalKind::terminate())?;
        say("ready");
        cancel.cancelled().await;
        say("stopping");
        terminate.recv().await;
        say("heard");
        tokio::task::spawn_blocking(wait_for_the_parent).await?;
        Ok(())
    })
}

/// Stops when it is asked to.
fn quiet() -> impl JanusService {
    service_fn("quiet", |cancel: CancellationToken| async move {
        cancel.cancelled().await;
        Ok(())
    })
}

#[expect(clippy::unwrap_used, reason = "part of a test")]
async fn run(supervisor: &JanusSupervisor) {
    let report = supervisor.run_until_shutdown().await.unwrap();
    assert!(report.drain.took < Duration::from_secs(60));
    let (cause, drain, code) = (report.cause, &report.drain, report.exit_code());
    let (drained, aborted) = (drain.drained, &drain.aborted);
    say(&format!(
        "cause {cause}, drained {drained}, aborted {aborted:?}, exit code {code}"
    ));
}

/// Past the test harness, which would keep it to itself.
#[expect(clippy::unwrap_used, reason = "part of a test")]
fn say(what: &str) {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "\n{MARK}{what}").unwrap();
    stdout.flush().unwrap();
}

/// Blocks, so that nothing in this process can wait for the shutdown meanwhile.
#[expect(clippy::unwrap_used, reason = "part of a test")]
fn wait_for_the_parent() {
    std::io::stdin().read_line(&mut String::new()).unwrap();
}
