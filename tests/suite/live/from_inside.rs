//! A service that asks for its own stop, restart or removal. Within its run it waits for itself.

use super::supervisor;
use janus_supervisor::{
    CancellationToken, FailureKind, JanusService, Readiness, ServiceError, ServiceHandle,
    ServicePhase, SpawnOptions, TerminationReason, notify, service_fn,
};
use janus_tests::{ms, secs, settle, within_an_hour};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};
use tokio::time::Instant;

/// What it asks for.
#[derive(Debug, Clone, Copy)]
enum Wish {
    Stop,
    Restart,
    Remove,
}

impl Wish {
    async fn ask(self, it: &ServiceHandle) {
        match self {
            Self::Stop => drop(it.stop().await),
            Self::Restart => drop(it.restart().await),
            Self::Remove => drop(it.remove().await),
        }
    }
}

/// A service with a hold on itself. Its first run asks, a second after it began; any other runs until it is told to
/// end.
struct Selfish {
    me: Arc<OnceLock<ServiceHandle>>,
    wish: Wish,
    /// Whether it also looks at its token while it waits.
    listens: bool,
    answers: Arc<AtomicU32>,
    runs: AtomicU32,
}

impl JanusService for Selfish {
    fn name(&self) -> &str {
        "it"
    }

    async fn run(&self, cancel: CancellationToken) -> Result<(), ServiceError> {
        if self.runs.fetch_add(1, SeqCst) > 0 {
            cancel.cancelled().await;
            return Ok(());
        }
        tokio::time::sleep(secs(1)).await;
        let me = self.me.get().ok_or("nobody told me who I am")?;
        let listening = async {
            if self.listens {
                cancel.cancelled().await;
            } else {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = self.wish.ask(me) => drop(self.answers.fetch_add(1, SeqCst)),
            () = listening => {}
        }
        Ok(())
    }
}

struct Case {
    it: ServiceHandle,
    answers: Arc<AtomicU32>,
    trace: Vec<String>,
    still_registered: bool,
}

/// Lets it ask, and looks ten seconds later: its grace is three.
async fn play(wish: Wish, listens: bool) -> Case {
    let (supervisor, recorder, t0) = supervisor();
    let (me, answers) = (Arc::<OnceLock<_>>::default(), Arc::<AtomicU32>::default());
    let service = Selfish {
        me: Arc::clone(&me),
        wish,
        listens,
        answers: Arc::clone(&answers),
        runs: AtomicU32::new(0),
    };
    let options = SpawnOptions::default().with_shutdown_grace(secs(3));
    let it = supervisor
        .spawn_service_with_options(service, options)
        .unwrap();
    assert!(me.set(it.clone()).is_ok());
    tokio::time::sleep(secs(10)).await;
    Case {
        still_registered: supervisor.service("it").is_some(),
        trace: recorder.trace_of("it", t0)[2..].to_vec(),
        answers,
        it,
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_waits_for_its_own_stop_is_dropped_when_its_grace_is_over() {
    let case = play(Wish::Stop, false).await;
    assert_eq!(
        case.trace,
        [
            "1000 run 1 stopping",
            "4000 run 1 dropped",
            "4000 run 1 terminated: aborted: did not stop in time",
        ]
    );
    assert_eq!(case.answers.load(SeqCst), 0);
}

/// Its wish is dropped with its run: whether it is forgotten is open, and it is not.
#[tokio::test(start_paused = true)]
async fn a_service_that_waits_for_its_own_removal_is_dropped_and_not_forgotten() {
    let case = play(Wish::Remove, false).await;
    assert_eq!(
        case.it.termination_reason(),
        Some(TerminationReason::Aborted)
    );
    assert_eq!(case.answers.load(SeqCst), 0);
    assert!(case.still_registered);
}

/// That is no failure of its own.
#[tokio::test(start_paused = true)]
async fn a_service_that_waits_for_its_own_restart_is_dropped_and_begun_anew() {
    let case = play(Wish::Restart, false).await;
    assert_eq!(
        case.trace,
        [
            "4000 run 1 dropped",
            "4000 run 1 backing off #0 for 0ns",
            "4000 run 2 restarting",
            "4000 run 2 running",
        ]
    );
    assert_eq!(case.answers.load(SeqCst), 0);
    assert_eq!(case.it.snapshot().total_failures, 0);
}

/// It is asked, as anybody would ask it, and may do as it is told.
#[tokio::test(start_paused = true)]
async fn a_service_that_listens_while_it_waits_for_itself_ends_at_once() {
    let ends = |wish| async move {
        let case = play(wish, true).await;
        assert_eq!(case.answers.load(SeqCst), 0);
        (case.trace, case.it.phase())
    };
    let stopped = [
        "1000 run 1 stopping",
        "1000 run 1 cancelled",
        "1000 run 1 terminated: cancelled",
    ];
    for wish in [Wish::Stop, Wish::Remove] {
        let (trace, phase) = ends(wish).await;
        assert_eq!(trace, stopped, "{wish:?}");
        assert_eq!(phase, ServicePhase::Terminated, "{wish:?}");
    }
    let (trace, phase) = ends(Wish::Restart).await;
    assert_eq!(trace[0], "1000 run 1 cancelled");
    assert_eq!(trace[3], "1000 run 2 running");
    assert_eq!(phase, ServicePhase::Running);
}

/// `request_stop` waits for nothing, and so is the way to stop oneself.
#[tokio::test(start_paused = true)]
async fn a_service_that_requests_its_own_stop_goes_on_to_its_end() {
    let (supervisor, _, t0) = supervisor();
    let me = Arc::<OnceLock<ServiceHandle>>::default();
    let service = service_fn("it", {
        let me = Arc::clone(&me);
        move |cancel| {
            let me = Arc::clone(&me);
            async move {
                tokio::time::sleep(secs(1)).await;
                me.get().ok_or("nobody told me who I am")?.request_stop();
                assert!(cancel.is_cancelled(), "it takes effect at once");
                tokio::time::sleep(secs(2)).await;
                Ok(())
            }
        }
    });
    let it = supervisor.spawn_service(service).unwrap();
    assert!(me.set(it.clone()).is_ok());
    assert_eq!(
        within_an_hour(it.terminated()).await,
        TerminationReason::Cancelled
    );
    assert_eq!(Instant::now().into_std() - t0, secs(3));
}

/// A task that the run spawns is not the run: it is answered.
#[tokio::test(start_paused = true)]
async fn a_task_that_the_run_has_spawned_is_answered() {
    for wish in [Wish::Stop, Wish::Restart, Wish::Remove] {
        let (supervisor, ..) = supervisor();
        let (me, answers) = (
            Arc::<OnceLock<ServiceHandle>>::default(),
            Arc::<AtomicU32>::default(),
        );
        let service = service_fn("it", {
            let (me, answers) = (Arc::clone(&me), Arc::clone(&answers));
            move |cancel| {
                let (me, answers) = (Arc::clone(&me), Arc::clone(&answers));
                async move {
                    if answers.load(SeqCst) == 0 {
                        tokio::spawn(async move {
                            settle().await;
                            if let Some(me) = me.get() {
                                wish.ask(me).await;
                            }
                            answers.fetch_add(1, SeqCst);
                        });
                    }
                    cancel.cancelled().await;
                    Ok(())
                }
            }
        });
        let it = supervisor.spawn_service(service).unwrap();
        assert!(me.set(it.clone()).is_ok());
        tokio::time::sleep(ms(500)).await;
        let restarts = matches!(wish, Wish::Restart);
        assert_eq!(it.phase().is_terminal(), !restarts, "{wish:?}");
        // The second run of what was restarted asks again, unless the first was answered by then.
        assert!(answers.load(SeqCst) >= 1, "{wish:?}");
        assert_eq!(it.snapshot().last_failure_kind, None::<FailureKind>);
    }
}

/// Whatever it asks for each time it is polled, others have their turns, too.
#[tokio::test(start_paused = true)]
async fn a_run_that_calls_itself_in_every_poll_leaves_the_thread_to_others() {
    let asks: [fn(&ServiceHandle); 3] = [
        |_| notify::ready(),
        ServiceHandle::request_stop,
        |me| drop(futures_util::FutureExt::now_or_never(me.restart())),
    ];
    for ask in asks {
        let (supervisor, ..) = supervisor();
        let me = Arc::new(OnceLock::<ServiceHandle>::new());
        let others_had_theirs = Arc::new(AtomicBool::new(false));
        let polls = Arc::new(AtomicU32::new(0));
        let caller = service_fn("caller", {
            let (me, over, polls) = (me.clone(), others_had_theirs.clone(), polls.clone());
            move |_cancel| {
                let (me, over, polls) = (me.clone(), over.clone(), polls.clone());
                async move {
                    while !over.load(SeqCst) && polls.fetch_add(1, SeqCst) < 100_000 {
                        ask(me.get().ok_or("nobody told me who I am")?);
                        tokio::task::yield_now().await;
                    }
                    Ok(())
                }
            }
        });
        let options = SpawnOptions::default().with_readiness(Readiness::Notify);
        let caller = supervisor
            .spawn_service_with_options(caller, options)
            .unwrap();
        me.set(caller).unwrap();
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        others_had_theirs.store(true, SeqCst);
        let polls = polls.load(SeqCst);
        assert!((2..100).contains(&polls), "polled {polls} times");
        supervisor.trigger_shutdown();
        supervisor.wait_for_drain().await;
    }
}

/// Each time it is polled, it wants to be run anew: it is dropped when its grace is over, as others are.
#[tokio::test(start_paused = true)]
async fn a_run_that_restarts_itself_in_every_poll_does_not_escape_its_grace() {
    let (supervisor, ..) = supervisor();
    let me = Arc::new(OnceLock::<ServiceHandle>::new());
    let polls = Arc::new(AtomicU32::new(0));
    let restless = service_fn("restless", {
        let (me, polls) = (me.clone(), polls.clone());
        move |_cancel| {
            let (me, polls) = (me.clone(), polls.clone());
            async move {
                while polls.fetch_add(1, SeqCst) < 100_000 {
                    let me = me.get().ok_or("nobody told me who I am")?;
                    drop(futures_util::FutureExt::now_or_never(me.restart()));
                    tokio::task::yield_now().await;
                }
                Ok(())
            }
        }
    });
    let no_grace = SpawnOptions::default().with_shutdown_grace(ms(0));
    let restless = supervisor
        .spawn_service_with_options(restless, no_grace)
        .unwrap();
    me.set(restless.clone()).unwrap();
    for _ in 0..3 {
        tokio::task::yield_now().await;
    }
    let starts = restless.snapshot().start_count;
    assert!(starts > 3, "{starts}");
    // Between two runs, or in the middle of one.
    let end = restless.stop().await;
    let is_told_to = matches!(
        end,
        TerminationReason::Cancelled | TerminationReason::Aborted
    );
    assert!(is_told_to, "{end}");
}
