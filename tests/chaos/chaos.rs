//! Run after run, a few at one time.

use crate::args::Args;
use crate::judge::{Verdict, judge};
use crate::plan::Plan;
use crate::run::carry_out;
use anyhow::{Result, ensure};
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;
use tokio::time::Instant;

/// What all runs came to.
#[derive(Debug, Default)]
struct Sum {
    too_early: u64,
    clean: u64,
    aborted: u64,
    failed: u64,
    twice: u64,
    stopped: u64,
    lost: u64,
    longest: Duration,
}

/// Carries out all runs, and says which failed.
pub(crate) fn all(args: &Args) -> Result<()> {
    let seed = args.seed.unwrap_or_else(random_seed);
    println!("{} runs from --seed {seed}", args.runs);
    let begun = Instant::now();
    let next = AtomicU64::new(0);
    let sum = Mutex::new(Sum::default());
    thread::scope(|scope| {
        for _ in 0..args.at_once {
            scope.spawn(|| {
                loop {
                    let i = next.fetch_add(1, Ordering::Relaxed);
                    if i >= args.runs {
                        return;
                    }
                    one(&Plan::new(seed.wrapping_add(i)), &args.fleet, &sum);
                }
            });
        }
    });
    let sum = sum.into_inner().unwrap_or_else(PoisonError::into_inner);
    println!(
        "{} clean, {} with somebody aborted, {} ended before there were handlers; {} had two signals, {} were stopped while they \
         shut down; the longest shutdown took {:.2?}; all in {:.0?}",
        sum.clean,
        sum.aborted,
        sum.too_early,
        sum.twice,
        sum.stopped,
        sum.longest,
        begun.elapsed()
    );
    if sum.lost > 0 {
        println!(
            "{} came while its handler was being installed, and was sent again",
            sum.lost
        );
    }
    // One in ten thousand, on a busy machine: one is let pass.
    let is_rare = sum.lost <= 1 + args.runs / 1_000;
    ensure!(is_rare, "{} signals of {} were lost", sum.lost, args.runs);
    ensure!(sum.failed == 0, "{} of {} failed", sum.failed, args.runs);
    println!("ok");
    Ok(())
}

fn one(plan: &Plan, program: &Path, sum: &Mutex<Sum>) {
    let result = carry_out(plan, program);
    let mut sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
    let outcome = match result {
        Ok(outcome) => outcome,
        Err(error) => {
            sum.failed += 1;
            println!("FAILED {plan}\n  {error:#}");
            return;
        }
    };
    sum.twice += u64::from(outcome.sent.len() == 2);
    sum.stopped += u64::from(!outcome.stopped.is_zero());
    sum.lost += u64::from(outcome.first_lost);
    match judge(plan, &outcome) {
        Ok(verdict) => {
            // An hour of grace is not waited for; how long its second signal was in coming says nothing.
            sum.longest = sum.longest.max(outcome.took);
            match verdict {
                Verdict::TooEarly => sum.too_early += 1,
                Verdict::Clean => sum.clean += 1,
                Verdict::Aborted => sum.aborted += 1,
            }
        }
        Err(error) => {
            sum.failed += 1;
            let (out, err) = (&outcome.printed.stdout, &outcome.printed.stderr);
            println!("FAILED {plan}\n  {error:#}; it has printed:\n{out}{err}");
        }
    }
}

/// Another one each time. Small enough to type.
fn random_seed() -> u64 {
    RandomState::new().build_hasher().finish() % 1_000_000_000
}
