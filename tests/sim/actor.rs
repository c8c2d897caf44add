//! A service that does what its script says, and writes down what it sees of itself.

use crate::script::{End, Ms, Run, ServiceSpec, ms};
use crate::trace::{Entry, Fact, Trace};
use janus_supervisor::{CancellationToken, JanusService, RestartPolicy, ServiceError, notify};
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};
use tokio::time::{Instant, sleep_until};

/// What a run fails with, however it fails.
pub(crate) const MESSAGE: &str = "as the script says";

pub(crate) struct Actor {
    spec: ServiceSpec,
    runs: AtomicUsize,
    diary: Diary,
}

/// Where one service writes.
#[derive(Clone)]
struct Diary {
    path: Arc<str>,
    trace: Arc<Trace>,
}

impl Diary {
    fn note(&self, fact: Fact) {
        let path = Arc::clone(&self.path);
        self.trace.add(Entry::Fact(path, fact));
    }
}

impl Actor {
    pub(crate) fn new(spec: ServiceSpec, path: String, trace: Arc<Trace>) -> Self {
        Self {
            spec,
            runs: AtomicUsize::new(0),
            diary: Diary {
                path: path.into(),
                trace,
            },
        }
    }

    fn next_run(&self) -> Run {
        let n = self.runs.fetch_add(1, Relaxed);
        self.spec.runs.get(n).cloned().unwrap_or_else(|| Run {
            beats: self
                .spec
                .watchdog
                .map(|period| ((period / 2).max(1), u32::MAX)),
            ..Run::steady()
        })
    }
}

impl JanusService for Actor {
    fn name(&self) -> &str {
        &self.spec.common.name
    }

    fn restart_policy(&self) -> RestartPolicy {
        self.spec.common.policy
    }

    fn run(
        &self,
        cancel: CancellationToken,
    ) -> impl Future<Output = Result<(), ServiceError>> + Send {
        let run = self.next_run();
        self.diary.note(Fact::Called);
        if run.call_panics {
            self.diary.note(Fact::Ends(End::Panic));
            self.diary.note(Fact::Gone);
            resume_unwind(Box::new(MESSAGE));
        }
        Playing {
            diary: self.diary.clone(),
            polled: false,
            drop_panics: run.drop_panics,
            play: Some(Box::pin(play(run, cancel, self.diary.clone()))),
        }
    }
}

/// The future of a run: it notes that it was polled, and that it is gone.
struct Playing<F> {
    diary: Diary,
    polled: bool,
    drop_panics: bool,
    play: Option<Pin<Box<F>>>,
}

impl<F: Future> Future for Playing<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        if !self.polled {
            self.polled = true;
            self.diary.note(Fact::Polled);
        }
        match &mut self.play {
            Some(play) => play.as_mut().poll(cx),
            None => Poll::Pending,
        }
    }
}

impl<F> Drop for Playing<F> {
    fn drop(&mut self) {
        self.play = None;
        self.diary.note(Fact::Gone);
        if self.drop_panics && !std::thread::panicking() {
            self.diary.note(Fact::PanicsInDrop);
            // Without the hook that would print it.
            resume_unwind(Box::new(MESSAGE));
        }
    }
}

/// What a run does next, besides to wait for its token.
struct Plan {
    begun: Instant,
    ready: Option<Instant>,
    beat: Option<Instant>,
    beats_left: u32,
    beat_every: Ms,
    cancel: Option<Instant>,
    end: Option<(Instant, End)>,
}

impl Plan {
    fn new(run: &Run) -> Self {
        let begun = Instant::now();
        let at = |after: Ms| begun + ms(after);
        let (beat_every, beats_left) = run.beats.unwrap_or((0, 0));
        Self {
            begun,
            ready: run.ready.map(at),
            beat: run.beats.map(|(every, _)| at(every)),
            beats_left,
            beat_every,
            cancel: run.cancels_itself.map(at),
            end: run.ends.map(|(after, end)| (at(after), end)),
        }
    }

    fn next(&self) -> Option<Instant> {
        let end = self.end.map(|(at, _)| at);
        let all = [self.ready, self.beat, self.cancel, end];
        all.into_iter().flatten().min()
    }

    /// Does what is due. Answers how the run ends, if it does.
    fn act(&mut self, now: Instant, token: &CancellationToken, diary: &Diary) -> Option<End> {
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if is_due(self.ready) {
            self.ready = None;
            diary.note(Fact::SaidReady);
            notify::ready();
        }
        if is_due(self.beat) {
            self.beats_left = self.beats_left.saturating_sub(1);
            self.beat = (self.beats_left > 0).then(|| now + ms(self.beat_every));
            diary.note(Fact::Beat);
            notify::heartbeat();
        }
        if is_due(self.cancel) {
            self.cancel = None;
            diary.note(Fact::CancelledItself);
            token.cancel();
        }
        self.end.filter(|(at, _)| *at <= now).map(|(_, end)| end)
    }

    /// From now on there is nothing to do but to end, so long after, or never.
    fn stop(&mut self, now: Instant, end: Option<(Ms, End)>) {
        (self.ready, self.beat, self.cancel) = (None, None, None);
        self.end = end.map(|(after, end)| (now + ms(after), end));
    }
}

async fn play(run: Run, token: CancellationToken, diary: Diary) -> Result<(), ServiceError> {
    let mut plan = Plan::new(&run);
    let mut told = false;
    let mut now = plan.begun;
    loop {
        if token.is_cancelled() && !told {
            told = true;
            diary.note(Fact::Told(notify::stop_reason()));
            if run.stops.is_some() {
                plan.stop(now, run.stops);
            }
        }
        if let Some(end) = plan.act(now, &token, &diary) {
            diary.note(Fact::Ends(end));
            return finish(end);
        }
        if token.is_cancelled() && !told {
            continue;
        }
        let next = plan.next();
        tokio::select! {
            biased;
            () = token.cancelled(), if !told => {}
            () = sleep_until(next.unwrap_or(now)), if next.is_some() => {}
            else => std::future::pending().await,
        }
        now = Instant::now();
    }
}

fn finish(end: End) -> Result<(), ServiceError> {
    match end {
        End::Ok => Ok(()),
        End::Fail => Err(MESSAGE.into()),
        End::FailForGood => Err(ServiceError::permanent(MESSAGE)),
        End::Panic => resume_unwind(Box::new(MESSAGE)),
    }
}
