//! The simulation: whole histories of a supervisor, made from seeds, lived through on a paused clock, and checked line
//! by line against a model that is written from the design. `cargo xtask sim` runs it.
//!
//! - `dice`, `generate`, `script`, `show`: a seed -> a history, which is plain data that can be printed.
//! - `actor`, `world`, `witness`, `trace`: a history -> all that is seen when the real supervisor lives through it.
//! - `model`: what is seen -> the first thing that must not be.
//! - `shrink`: a history that fails -> a small one that does.
//! - `vigil`: a history in which time stands still for ever ends the program.

#![expect(
    clippy::print_stdout,
    reason = "a chore talks to the person who runs it"
)]

mod actor;
mod dice;
mod generate;
mod model;
mod script;
mod show;
mod shrink;
mod trace;
mod vigil;
mod witness;
mod world;

use anyhow::{Context, Result, bail, ensure};
use model::Fault;
use script::History;
use std::time::{SystemTime, UNIX_EPOCH};
use trace::Line;
use vigil::Vigil;

/// What is run without arguments.
const FIXED: u64 = 2_000;
const FRESH: u64 = 500;
/// Every so many histories are lived through twice, which has to come to the same.
const TWICE: u64 = 20;
/// How many failures are shown in full.
const SHOWN: usize = 3;
/// How often a history that fails is tried with something taken away.
const TRIES: usize = 20_000;
/// How much of a trace is shown.
const LINES: usize = 40;

fn main() -> Result<()> {
    let seeds = Seeds::read(std::env::args().skip(1))?;
    let mut run = Run {
        vigil: Vigil::begin(),
        histories: 0,
        lines: 0,
        failed: Vec::new(),
    };
    println!("seeds from {} on: {}", seeds.from, seeds.fixed);
    run.all(seeds.from, seeds.fixed)?;
    if seeds.fresh > 0 {
        let from = any_seed();
        println!("fresh seeds from {from} on: {}", seeds.fresh);
        run.all(from, seeds.fresh)?;
    }
    println!(
        "{} histories, {} events and facts",
        run.histories, run.lines
    );
    ensure!(
        run.failed.is_empty(),
        "these seeds fail: {:?}; `cargo xtask sim --from SEED --seeds 1` repeats one",
        run.failed
    );
    Ok(())
}

/// Which histories to live through.
struct Seeds {
    from: u64,
    fixed: u64,
    fresh: u64,
}

impl Seeds {
    fn read(mut args: impl Iterator<Item = String>) -> Result<Self> {
        let (mut from, mut fixed, mut fresh) = (None, None, None);
        while let Some(arg) = args.next() {
            let number = args.next().with_context(|| format!("{arg} what?"))?;
            let number = number.parse();
            let number = number.with_context(|| format!("{arg} takes a number"))?;
            match arg.as_str() {
                "--from" => from = Some(number),
                "--seeds" => fixed = Some(number),
                "--fresh" => fresh = Some(number),
                other => bail!("the simulation knows --seeds, --from and --fresh, and not {other}"),
            }
        }
        let is_asked = from.is_some() || fixed.is_some() || fresh.is_some();
        let none = if fresh.is_some() { 0 } else { FIXED };
        Ok(Self {
            from: from.unwrap_or(0),
            fixed: fixed.unwrap_or(none),
            fresh: fresh.unwrap_or(if is_asked { 0 } else { FRESH }),
        })
    }
}

/// Another one each time. It is printed, so that what it leads to can be repeated.
#[expect(
    clippy::disallowed_methods,
    reason = "the one thing here that is not to be the same every time"
)]
fn any_seed() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs() << 20)
}

struct Run {
    vigil: Vigil,
    histories: u64,
    lines: usize,
    failed: Vec<u64>,
}

impl Run {
    fn all(&mut self, from: u64, count: u64) -> Result<()> {
        for seed in from..from.saturating_add(count) {
            self.vigil.passes(seed);
            let history = generate::history(seed);
            let lines = world::live(&history)?;
            self.histories += 1;
            self.lines += lines.len();
            if seed % TWICE == 0 && text(&lines) != text(&world::live(&history)?) {
                bail!("seed {seed} comes to one thing the first time, and to another the second");
            }
            if let Err(fault) = model::check(&history, &lines) {
                println!("\nseed {seed} fails: {fault}");
                self.failed.push(seed);
                if self.failed.len() <= SHOWN {
                    self.show_failure(seed, history, &fault)?;
                }
            }
            if self.histories % 10_000 == 0 {
                println!("{} histories", self.histories);
            }
        }
        Ok(())
    }

    /// Prints the smallest history that fails in this way, and its last lines.
    fn show_failure(&self, seed: u64, history: History, fault: &Fault) -> Result<()> {
        let kind = fault.kind();
        let small = shrink::shrink(history, TRIES, |candidate| {
            self.vigil.passes(seed);
            let lines = world::live(candidate);
            lines.is_ok_and(|lines| {
                model::check(candidate, &lines).is_err_and(|fault| fault.kind() == kind)
            })
        });
        println!("\n{small}\n");
        let lines = world::live(&small)?;
        if let Err(fault) = model::check(&small, &lines) {
            let first = (fault.line + 1).saturating_sub(LINES);
            for line in lines.iter().take(fault.line + 1).skip(first) {
                println!("{line}");
            }
            println!("        ^ {fault}");
        }
        Ok(())
    }
}

fn text(lines: &[Line]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}
