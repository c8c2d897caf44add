//! `cargo xtask counts`: what a restart, a panic, a spawn and a shutdown cost, in instructions, heap blocks and live
//! bytes.
//!
//! Counted by callgrind and by a counting allocator, so that the figures are the same on a busy machine. The difference
//! of two sizes leaves out what is only done once. Fails where a figure is above its limit.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::process;
use crate::workspace::Workspace;

/// What is counted.
struct Figure {
    name: &'static str,
    /// What Janus is to cost at most one day.
    budget: f64,
    /// What it may cost today: a little above what it did when this was last set, as builds differ by some ten. Lowered
    /// whenever that falls, and raised for nothing but what is worth it.
    limit: f64,
    of: fn(&Counts) -> f64,
}

const FIGURES: [Figure; 6] = [
    Figure {
        name: "instructions a restart",
        budget: 1_000.0,
        limit: 960.0,
        of: |counts| counts.restart,
    },
    Figure {
        name: "heap blocks a restart",
        budget: 1.0,
        limit: 0.01,
        of: |counts| counts.restart_blocks,
    },
    Figure {
        // Within a tenth of the bare loop's. Nearly all of it is the unwinder's.
        name: "instructions a panic",
        budget: 46_000.0,
        limit: 45_000.0,
        of: |counts| counts.panic,
    },
    Figure {
        name: "instructions a spawn",
        budget: 3_500.0,
        limit: 4_360.0,
        of: |counts| counts.spawn,
    },
    Figure {
        name: "instructions a spawn and shutdown",
        budget: 6_500.0,
        limit: 7_720.0,
        of: |counts| counts.spawn + counts.shutdown,
    },
    Figure {
        name: "live bytes an idle service",
        budget: 800.0,
        limit: 800.0,
        of: |counts| counts.live_bytes,
    },
];

/// What one program costs.
struct Counts {
    restart: f64,
    restart_blocks: f64,
    panic: f64,
    spawn: f64,
    shutdown: f64,
    live_bytes: f64,
}

/// Counts, shows, and compares with the limits.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let programs = Programs::build(workspace)?;
    let bare = programs.count("bare")?;
    let janus = programs.count("janus")?;
    println!(
        "\n  {:<34} {:>8} {:>8} {:>8} {:>8}",
        "", "bare", "janus", "limit", "budget"
    );
    let mut above = Vec::new();
    for figure in FIGURES {
        let (bare, janus) = ((figure.of)(&bare), (figure.of)(&janus));
        println!(
            "  {:<34} {bare:>8.0} {janus:>8.0} {:>8.0} {:>8.0}",
            figure.name, figure.limit, figure.budget
        );
        if janus > figure.limit {
            let (name, limit) = (figure.name, figure.limit);
            above.push(format!("{name}: {janus:.2}, and may be {limit} at most"));
        }
    }
    ensure!(above.is_empty(), "{}", above.join("; "));
    Ok(())
}

/// The contenders' programs, twice: to count instructions of, and with a heap that counts.
struct Programs {
    plain: PathBuf,
    counting: PathBuf,
}

/// Of how many idle services. Many: now and then the allocator merges all the small blocks it was given back, and when
/// that is changes with every byte; over thousands of services it is the same.
const FLEETS: [u32; 2] = [1_000, 9_000];

impl Programs {
    fn build(workspace: &Workspace) -> Result<Self> {
        let build = |folder: &str, features: &[&str]| -> Result<PathBuf> {
            let target = workspace.target.join(folder);
            let mut command = workspace.cargo(&[
                "build",
                "--release",
                "--manifest-path",
                "benches/Cargo.toml",
            ]);
            command.args(["--package", "bench-bare", "--package", "bench-janus"]);
            command.args(features);
            command.env("CARGO_TARGET_DIR", &target);
            process::run(&mut command)?;
            Ok(target.join("release"))
        };
        Ok(Self {
            plain: build("benches", &[])?,
            counting: build("benches-counting", &["--features", "bench-harness/count"])?,
        })
    }

    fn count(&self, contender: &str) -> Result<Counts> {
        let program = format!("bench-{contender}");
        let plain = self.plain.join(&program);
        let counting = self.counting.join(&program);
        let each = |[few, many]: [u32; 2], of: &dyn Fn(&str) -> Result<f64>| -> Result<f64> {
            let more = of(&many.to_string())? - of(&few.to_string())?;
            Ok(more / f64::from(many - few))
        };
        let storm = |job: &'static str| {
            let plain = &plain;
            move |times: &str| instructions(plain, "storm", &[job, "current", "1", times])
        };
        let idle = |part: &'static str| {
            let plain = &plain;
            move |services: &str| instructions(plain, part, &["idle", "current", services, "1"])
        };
        let heap = |name, job: &[&str]| {
            let said = process::stdout_of(
                process::without_backtraces(&mut Command::new(&counting)).args(job),
            )?;
            figure(&said, name)
        };
        Ok(Counts {
            restart: each([10_000, 30_000], &storm("storm"))?,
            restart_blocks: heap("restart_blocks", &["storm", "current", "1", "10000"])?,
            panic: each([1_000, 3_000], &storm("panics"))?,
            spawn: each(FLEETS, &idle("spawn"))?,
            shutdown: each(FLEETS, &idle("shutdown"))?,
            live_bytes: heap("live_bytes", &["idle", "current", "10000", "1"])?,
        })
    }
}

/// How many instructions a program needs for this part of a job.
fn instructions(program: &PathBuf, part: &str, job: &[&str]) -> Result<f64> {
    let mut command = Command::new("valgrind");
    command
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(format!("--toggle-collect=*measured_{part}*"))
        .arg(program)
        .args(job);
    process::without_backtraces(&mut command);
    let shown = process::announce(&command);
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start `{shown}`: is valgrind installed?"))?;
    ensure!(output.status.success(), "`{shown}`: {}", output.status);
    let text = String::from_utf8_lossy(&output.stderr);
    let count = text.split("Collected :").nth(1);
    let count = count.and_then(|rest| rest.split_whitespace().next());
    let count =
        count.with_context(|| format!("`{shown}` did not say what it collected: {text}"))?;
    count
        .parse()
        .with_context(|| format!("`{shown}` collected `{count}`"))
}

/// A figure that a program has printed, one `name value` a line.
fn figure(text: &str, name: &str) -> Result<f64> {
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    let value = lines.find(|(is, _)| *is == name).map(|(_, value)| value);
    let value = value.with_context(|| format!("no `{name}` in:\n{text}"))?;
    value
        .parse()
        .with_context(|| format!("`{name}` is `{value}`, which is no number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_found_by_its_whole_name() {
        let text = "note none\nspawn_ns 12.5\nspawn_blocks 3.000\n";
        assert_eq!(figure(text, "spawn_blocks").unwrap(), 3.0);
        assert!(figure(text, "spawn").is_err());
        assert!(figure(text, "note").is_err());
    }

    #[test]
    fn what_is_within_its_budget_stays_so() {
        let above = FIGURES.iter().filter(|figure| figure.limit > figure.budget);
        let above: Vec<_> = above.map(|figure| figure.name).collect();
        assert_eq!(
            above,
            ["instructions a spawn", "instructions a spawn and shutdown"]
        );
    }
}
