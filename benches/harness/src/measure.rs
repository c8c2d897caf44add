//! Does a job, and prints what it took.

use crate::alloc::Heap;
use crate::gate::Gate;
use crate::work::{Chart, Cloud, Either, Idle, Loop, Patient, Sky, Sleeper, Storm, Wrong};
use crate::{Contender, Engine, Fleet, Job, Lister, Work, Workload};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;

/// How often a storm is repeated with and without a reader.
const ROUNDS: usize = 5;

/// The program of a contender.
pub fn main<C: Contender>() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let job = match Job::read(&args) {
        Ok(job) => Job {
            times: (job.times / C::SLOWER).max(1),
            ..job
        },
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    };
    if let Some(why) = C::cannot(job.workload) {
        println!("cannot {why}");
        return ExitCode::SUCCESS;
    }
    if let Some(note) = C::note(job.workload) {
        println!("note {note}");
    }
    let runtime = match job.engine {
        Engine::Current => Builder::new_current_thread().enable_all().build(),
        Engine::Multi => Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build(),
    };
    match runtime {
        Ok(runtime) => Bench { runtime, job }.run::<C>(),
        Err(error) => {
            eprintln!("error: no runtime: {error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

struct Bench {
    runtime: Runtime,
    job: Job,
}

fn say(name: &str, value: f64) {
    println!("{name} {value:.3}");
}

/// For each of so many.
fn each(what: f64, n: usize) -> f64 {
    what / n as f64
}

impl Bench {
    fn run<C: Contender>(self) {
        match self.job.workload {
            Workload::Idle => self.idle::<C>(),
            Workload::Storm => self.storms::<C>(Wrong::Fails),
            Workload::Panics => {
                std::panic::set_hook(Box::new(|_| {}));
                self.storms::<C>(Wrong::Panics);
            }
            Workload::Reader => self.reader::<C>(),
            Workload::Latency => self.latency::<C>(),
            Workload::Timer => self.timer::<C>(),
        }
    }

    /// So many services with this work.
    fn services<W>(&self, mut work: impl FnMut() -> W) -> Vec<(String, W)> {
        let names = (0..self.job.services).map(|i| format!("service-{i:07}"));
        names.map(|name| (name, work())).collect()
    }

    fn idle<C: Contender>(&self) {
        let n = self.job.services;
        let before = Heap::now();
        let started = Arc::new(Gate::of(n));
        let services = self.services(|| Idle {
            started: Arc::clone(&started),
        });
        let given = Heap::now();
        let (took, fleet) = timed(|| {
            measured_spawn(&self.runtime, async {
                let fleet = C::start(services).await;
                started.wait().await;
                fleet
            })
        });
        say("spawn_ns", each(took.as_nanos() as f64, n));
        if let (Some(now), Some(given), Some(before)) = (Heap::now(), given, before) {
            say("spawn_blocks", each(now.since(given).blocks as f64, n));
            say("live_bytes", each(now.since(before).live_bytes as f64, n));
        }
        if let Some(lister) = fleet.lister() {
            let (took, found) = timed(|| on_a_thread(move || lister.list()));
            assert_eq!(found, n, "not all are listed");
            say("list_ns", each(took.as_nanos() as f64, n));
        }
        let before = Heap::now();
        let (took, ()) = timed(|| measured_shutdown(&self.runtime, fleet.shutdown()));
        say("shutdown_ns", each(took.as_nanos() as f64, n));
        if let (Some(now), Some(before)) = (Heap::now(), before) {
            say("shutdown_blocks", each(now.since(before).blocks as f64, n));
        }
    }

    fn storms<C: Contender>(&self, wrong: Wrong) {
        let (sky, fleet) = self.gather::<C>(wrong);
        let before = Heap::now();
        let took = self.storm(&sky);
        if let (Some(now), Some(before)) = (Heap::now(), before) {
            let blocks = now.since(before).blocks as f64;
            say("restart_blocks", each(blocks, self.restarts()));
        }
        say("restarts_per_s", self.rate(took));
        self.runtime.block_on(fleet.shutdown());
    }

    fn restarts(&self) -> usize {
        self.job.services * self.job.times as usize
    }

    fn rate(&self, took: Duration) -> f64 {
        self.restarts() as f64 / took.as_secs_f64()
    }

    /// A fleet that has started, and waits for the signal.
    fn gather<C: Contender>(&self, wrong: Wrong) -> (Arc<Sky>, C::Fleet) {
        let n = self.job.services;
        let sky = Arc::new(Sky {
            started: Gate::of(n),
            signal: CancellationToken::new(),
            over: Gate::of(n),
        });
        let services = self.services(|| {
            Storm(Arc::new(Cloud {
                wrong,
                times: self.job.times,
                runs: AtomicU32::new(0),
                sky: Arc::clone(&sky),
            }))
        });
        let fleet = self.runtime.block_on(async {
            let fleet = C::start(services).await;
            sky.started.wait().await;
            fleet
        });
        (sky, fleet)
    }

    fn storm(&self, sky: &Sky) -> Duration {
        let (took, ()) = timed(|| {
            measured_storm(&self.runtime, async {
                sky.signal.cancel();
                sky.over.wait().await;
            });
        });
        took
    }

    fn reader<C: Contender>(&self) {
        let (mut alone, mut read, mut lists) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let (sky, fleet) = self.gather::<C>(Wrong::Fails);
            alone.push(self.rate(self.storm(&sky)));
            self.runtime.block_on(fleet.shutdown());

            let (sky, fleet) = self.gather::<C>(Wrong::Fails);
            let Some(lister) = fleet.lister() else {
                println!("cannot list states");
                return;
            };
            let over = Arc::new(AtomicBool::new(false));
            let reader = std::thread::spawn({
                let over = Arc::clone(&over);
                move || {
                    let mut lists = 0_u32;
                    while !over.load(Relaxed) {
                        lister.list();
                        lists += 1;
                    }
                    lists
                }
            });
            let took = self.storm(&sky);
            over.store(true, Relaxed);
            let listed = reader.join().unwrap_or_default();
            read.push(self.rate(took));
            lists.push(f64::from(listed) / took.as_secs_f64());
            self.runtime.block_on(fleet.shutdown());
        }
        say("alone_per_s", median(alone));
        say("restarts_per_s", median(read));
        say("lists_per_s", median(lists));
    }

    fn latency<C: Contender>(&self) {
        let chart = self.chart(self.job.times);
        let siblings = self.job.services;
        let started = Arc::new(Gate::of(siblings.max(1)));
        let mut services = self.services(|| {
            Either::One(Idle {
                started: Arc::clone(&started),
            })
        });
        if siblings == 0 {
            started.pass();
        }
        services.push((
            "patient".to_owned(),
            Either::Other(Patient(Arc::clone(&chart))),
        ));
        self.observe::<C, _>(services, &started, &chart);
        quantiles("latency", &chart.sorted());
    }

    fn timer<C: Contender>(&self) {
        let chart = self.chart(self.job.times);
        let until = CancellationToken::new();
        let started = Gate::of(1);
        started.pass();
        let mut services = vec![(
            "sleeper".to_owned(),
            Either::Other(Sleeper(Arc::clone(&chart))),
        )];
        services.extend(self.services(|| {
            Either::One(Loop {
                until: until.clone(),
            })
        }));
        self.runtime.block_on(async {
            let fleet = C::start(services).await;
            chart.over.wait().await;
            until.cancel();
            fleet.shutdown().await;
        });
        quantiles("late", &chart.sorted());
    }

    fn chart(&self, times: u32) -> Arc<Chart> {
        Arc::new(Chart {
            times: times as usize,
            taken: Mutex::new(Vec::with_capacity(times as usize)),
            failed_at: Mutex::new(None),
            over: Gate::of(1),
        })
    }

    fn observe<C: Contender, W: Work>(
        &self,
        services: Vec<(String, W)>,
        started: &Gate,
        chart: &Chart,
    ) {
        self.runtime.block_on(async {
            let fleet = C::start(services).await;
            started.wait().await;
            chart.over.wait().await;
            fleet.shutdown().await;
        });
    }
}

// Names of their own, by which callgrind is told what to count.

#[inline(never)]
fn measured_spawn<F: Future>(runtime: &Runtime, work: F) -> F::Output {
    runtime.block_on(work)
}

#[inline(never)]
fn measured_storm<F: Future>(runtime: &Runtime, work: F) -> F::Output {
    runtime.block_on(work)
}

#[inline(never)]
fn measured_shutdown<F: Future>(runtime: &Runtime, work: F) -> F::Output {
    runtime.block_on(work)
}

fn timed<R>(act: impl FnOnce() -> R) -> (Duration, R) {
    let begun = Instant::now();
    let result = act();
    (begun.elapsed(), result)
}

fn on_a_thread<R: Send + 'static>(act: impl FnOnce() -> R + Send + 'static) -> R {
    match std::thread::spawn(act).join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_unstable_by(f64::total_cmp);
    all[all.len() / 2]
}

/// Of what is sorted.
fn quantiles(name: &str, all: &[u64]) {
    for (suffix, share) in [("p50", 0.5), ("p99", 0.99), ("p999", 0.999)] {
        let at = (all.len() as f64 * share) as usize;
        say(
            &format!("{name}_{suffix}_ns"),
            all[at.min(all.len() - 1)] as f64,
        );
    }
}
