//! What the services do: the same for every contender.

use crate::gate::Gate;
use futures_util::FutureExt;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// What a run fails with.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("broken")]
pub struct Fault;

/// What a service does.
pub trait Work: Clone + Send + Sync + 'static {
    /// One run. `cancelled` is ready when it is to end; where a contender drops a run instead, it never is.
    fn run(
        &self,
        cancelled: impl Future<Output = ()> + Send,
    ) -> impl Future<Output = Result<(), Fault>> + Send;
}

/// Waits to be stopped.
#[derive(Debug, Clone)]
pub(crate) struct Idle {
    pub(crate) started: Arc<Gate>,
}

impl Work for Idle {
    fn run(
        &self,
        cancelled: impl Future<Output = ()> + Send,
    ) -> impl Future<Output = Result<(), Fault>> + Send {
        self.started.pass();
        // No `async`: that keeps room for what it has been given and for what it waits for, which is the same thing
        // here.
        cancelled.map(Ok)
    }
}

/// How a run goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wrong {
    Fails,
    Panics,
}

/// Waits for the signal, fails so many times in a row, and then waits to be stopped.
#[derive(Debug, Clone)]
pub(crate) struct Storm(pub(crate) Arc<Cloud>);

/// One service of a storm.
#[derive(Debug)]
pub(crate) struct Cloud {
    pub(crate) wrong: Wrong,
    pub(crate) times: u32,
    pub(crate) runs: AtomicU32,
    pub(crate) sky: Arc<Sky>,
}

/// What a storm shares.
#[derive(Debug)]
pub(crate) struct Sky {
    pub(crate) started: Gate,
    pub(crate) signal: CancellationToken,
    pub(crate) over: Gate,
}

impl Work for Storm {
    async fn run(&self, cancelled: impl Future<Output = ()> + Send) -> Result<(), Fault> {
        let Cloud {
            wrong,
            times,
            runs,
            sky,
        } = &*self.0;
        let run = runs.load(Relaxed);
        runs.store(run + 1, Relaxed);
        if run == 0 {
            sky.started.pass();
            sky.signal.cancelled().await;
        }
        if run == *times {
            sky.over.pass();
        }
        if run >= *times {
            cancelled.await;
            return Ok(());
        }
        match wrong {
            Wrong::Fails => Err(Fault),
            Wrong::Panics => panic!("broken"),
        }
    }
}

/// Fails again and again, so many times, a few turns of the runtime after each start, and notes how long it took to be
/// back.
#[derive(Debug, Clone)]
pub(crate) struct Patient(pub(crate) Arc<Chart>);

#[derive(Debug)]
pub(crate) struct Chart {
    pub(crate) times: usize,
    pub(crate) taken: Mutex<Vec<u64>>,
    pub(crate) failed_at: Mutex<Option<Instant>>,
    pub(crate) over: Gate,
}

impl Chart {
    fn failed_at(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.failed_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, taken: Duration) -> usize {
        let mut all = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(taken.as_nanos() as u64);
        all.len()
    }

    /// What was noted, in order of size.
    pub(crate) fn sorted(&self) -> Vec<u64> {
        let mut all = self
            .taken
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        all.sort_unstable();
        all
    }
}

impl Work for Patient {
    async fn run(&self, cancelled: impl Future<Output = ()> + Send) -> Result<(), Fault> {
        let chart = &*self.0;
        let now = Instant::now();
        let failed_at = chart.failed_at().take();
        if let Some(failed_at) = failed_at {
            if chart.note(now - failed_at) == chart.times {
                chart.over.pass();
                cancelled.await;
                return Ok(());
            }
        }
        for _turn in 0..8 {
            tokio::task::yield_now().await;
        }
        *chart.failed_at() = Some(Instant::now());
        Err(Fault)
    }
}

/// Fails at once, for ever.
#[derive(Debug, Clone)]
pub(crate) struct Loop {
    pub(crate) until: CancellationToken,
}

impl Work for Loop {
    async fn run(&self, cancelled: impl Future<Output = ()> + Send) -> Result<(), Fault> {
        if self.until.is_cancelled() {
            cancelled.await;
            return Ok(());
        }
        Err(Fault)
    }
}

/// Sleeps, and notes how late it woke.
#[derive(Debug, Clone)]
pub(crate) struct Sleeper(pub(crate) Arc<Chart>);

impl Sleeper {
    const NAP: Duration = Duration::from_millis(5);
}

impl Work for Sleeper {
    async fn run(&self, cancelled: impl Future<Output = ()> + Send) -> Result<(), Fault> {
        let chart = &*self.0;
        loop {
            let due = tokio::time::Instant::now() + Self::NAP;
            tokio::time::sleep_until(due).await;
            if chart.note(due.elapsed()) == chart.times {
                break;
            }
        }
        chart.over.pass();
        cancelled.await;
        Ok(())
    }
}

/// One of two kinds.
#[derive(Debug, Clone)]
pub(crate) enum Either<A, B> {
    One(A),
    Other(B),
}

impl<A: Work, B: Work> Work for Either<A, B> {
    async fn run(&self, cancelled: impl Future<Output = ()> + Send) -> Result<(), Fault> {
        match self {
            Self::One(work) => work.run(cancelled).await,
            Self::Other(work) => work.run(cancelled).await,
        }
    }
}
