//! `cargo xtask bench`: Janus and its peers, measured side by side: `docs/performance.md`.
//!
//! Every contender is a program of its own in the workspace `benches`. They take turns, round by round, so that what
//! else the machine does hits all of them; the tables show medians, and how they compare with those of the bare loop.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::workspace::Workspace;
use crate::{clock, process};

/// How long a program may take for one job.
const LIMIT: Duration = Duration::from_secs(180);

/// The limit first, then Janus, then those it is compared with.
const CONTENDERS: [&str; 8] = [
    "bare",
    "janus",
    "task-supervisor",
    "rustrade-supervisor",
    "taskvisor",
    "tokio-graceful-shutdown",
    "ractor-supervisor",
    OTP,
];

/// Erlang's, which is left out where there is no Erlang.
const OTP: &str = "otp";

/// What all are asked to do: the arguments of the programs.
const JOBS: [&str; 17] = [
    "idle current 10000 1",
    "idle current 100000 1",
    "idle multi 100000 1",
    "idle current 1000000 1",
    "storm current 1 300000",
    "storm current 1000 300",
    "storm multi 1000 300",
    "storm current 10000 30",
    "storm current 1000000 30",
    "panics current 1 20000",
    "panics current 1000 20",
    "reader current 1000 300",
    "latency current 0 10000",
    "latency current 10000 10000",
    "timer current 1 500",
    "timer current 1000 500",
    MEMORY,
];

/// The only one that the counting programs do.
const MEMORY: &str = "idle current 10001 1";

/// What a contender has printed in all rounds, by name.
#[derive(Default)]
struct Said {
    figures: BTreeMap<String, Vec<f64>>,
    /// Why there are no figures, or what is to be known of them.
    remark: Option<String>,
    /// It took too long, and would do so again.
    is_out: bool,
}

/// Builds the contenders and runs them. `--rounds N` and `--only WORD` (in the job's name).
pub(crate) fn run(workspace: &Workspace, args: &[String]) -> Result<()> {
    let (mut rounds, mut only) = (3, None);
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let value = args.next().with_context(|| format!("`{arg}` of what?"))?;
        match arg.as_str() {
            "--rounds" => rounds = value.parse().context("`--rounds` takes a number")?,
            "--only" => only = Some(value.as_str()),
            other => bail!("`bench` does not know `{other}`; it takes --rounds N and --only WORD"),
        }
    }
    ensure!(rounds > 0, "`--rounds` must be at least 1");
    let jobs = JOBS
        .iter()
        .filter(|job| only.is_none_or(|only| job.contains(only)));
    let jobs: Vec<_> = jobs.copied().collect();
    let plain = build(workspace, &[])?;
    let counting = build(workspace, &["--features", "bench-harness/count"])?;
    for job in jobs {
        let mut all: BTreeMap<&str, Said> = BTreeMap::new();
        for _ in 0..rounds {
            for contender in CONTENDERS {
                let said = all.entry(contender).or_default();
                if !said.is_out {
                    let programs = if job == MEMORY { &counting } else { &plain };
                    measure(&command(workspace, programs, contender), job, said)?;
                }
            }
        }
        println!("\n## {job}\n\n{}", table(job, &all));
    }
    Ok(())
}

/// Builds all contenders, and answers where they are.
fn build(workspace: &Workspace, features: &[&str]) -> Result<PathBuf> {
    let folder = if features.is_empty() {
        "benches"
    } else {
        "benches-counting"
    };
    let target = workspace.target.join(folder);
    let arguments = [
        "build",
        "--release",
        "--manifest-path",
        "benches/Cargo.toml",
    ];
    let mut command = workspace.cargo(&arguments);
    command.args(features).env("CARGO_TARGET_DIR", &target);
    process::run(&mut command)?;
    Ok(target.join("release"))
}

/// The program of a contender, and the arguments before those of the job.
fn command(workspace: &Workspace, programs: &Path, contender: &str) -> Vec<PathBuf> {
    if contender == OTP {
        let script = workspace.root.join("benches/otp/otp.escript");
        vec!["escript".into(), script]
    } else {
        vec![programs.join(format!("bench-{contender}"))]
    }
}

/// Has a contender do a job once.
fn measure(command: &[PathBuf], job: &str, said: &mut Said) -> Result<()> {
    let Some((program, script)) = command.split_first() else {
        return Ok(());
    };
    let started = process::without_backtraces(&mut Command::new(program))
        .args(script)
        .args(job.split(' '))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut child) = started else {
        said.remark = Some("not installed".to_owned());
        return Ok(());
    };
    let begun = clock::now();
    let failed = loop {
        if let Some(status) = child.try_wait()? {
            break (!status.success()).then(|| format!("failed: {status}"));
        }
        if begun.elapsed() >= LIMIT {
            child.kill()?;
            child.wait()?;
            said.is_out = true;
            let limit = LIMIT.as_secs();
            break Some(format!("not over within {limit} s, from spawn to shutdown"));
        }
        clock::pause(Duration::from_millis(20));
    };
    // Also of one that took too long: it may have been on its way down.
    let mut text = String::new();
    if let Some(mut stdout) = child.stdout.take() {
        stdout.read_to_string(&mut text)?;
    }
    hear(&text, job == MEMORY, said);
    if failed.is_some() {
        said.remark = failed;
    }
    Ok(())
}

/// Takes note of what a program has printed.
fn hear(text: &str, memory_only: bool, said: &mut Said) {
    for (name, value) in text.lines().filter_map(|line| line.split_once(' ')) {
        match value.parse() {
            Ok(value) if !memory_only || name == "live_bytes" => {
                said.figures.entry(name.to_owned()).or_default().push(value);
            }
            Ok(_of_no_interest) => {}
            Err(_) if name == "cannot" => said.remark = Some(format!("cannot: {value}")),
            Err(_) => said.remark = Some(value.to_owned()),
        }
    }
}

/// A table in Markdown: one row a contender, one column a figure.
fn table(job: &str, all: &BTreeMap<&str, Said>) -> String {
    let figures = || all.values().flat_map(|said| said.figures.keys());
    let mut names: Vec<_> = figures().collect();
    names.sort();
    names.dedup();
    let is_count = |name: &str| name == "live_bytes" && job != MEMORY;
    names.retain(|name| !is_count(name));
    let mut text = String::from("| |");
    for name in &names {
        text.push_str(&format!(" {name} |"));
    }
    text.push_str(" |\n|---|");
    text.push_str(&"--:|".repeat(names.len()));
    text.push_str("---|\n");
    let bare = all.get("bare");
    for contender in CONTENDERS {
        let Some(said) = all.get(contender) else {
            continue;
        };
        text.push_str(&format!("| {contender} |"));
        for name in &names {
            let Some(value) = median(said, name) else {
                text.push_str(" – |");
                continue;
            };
            match bare.and_then(|bare| median(bare, name)) {
                Some(bare) if contender != "bare" => {
                    text.push_str(&format!(" {} ({:.2}) |", shown(value), value / bare));
                }
                _ => text.push_str(&format!(" {} |", shown(value))),
            }
        }
        text.push_str(&format!(" {} |\n", said.remark.as_deref().unwrap_or("")));
    }
    text
}

fn median(said: &Said, name: &str) -> Option<f64> {
    let mut all = said.figures.get(name)?.clone();
    all.sort_unstable_by(f64::total_cmp);
    let middle = all.len() / 2;
    let upper = *all.get(middle)?;
    if all.len() % 2 == 1 {
        return Some(upper);
    }
    Some((all.get(middle - 1)? + upper) / 2.0)
}

/// A figure with no more digits than it is worth, in groups of three.
fn shown(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_shows_medians_and_how_they_compare() {
        let mut all: BTreeMap<&str, Said> = BTreeMap::new();
        for (contender, texts) in [
            (
                "bare",
                ["spawn_ns 1000.0", "spawn_ns 2000.0", "spawn_ns 900.0"],
            ),
            ("janus", ["spawn_ns 1000.0", "note new", "spawn_ns 2000.0"]),
            ("otp", ["cannot at all", "", ""]),
        ] {
            let said = all.entry(contender).or_default();
            for text in texts {
                hear(text, false, said);
            }
        }
        assert_eq!(
            table("idle", &all),
            "| | spawn_ns | |\n\
             |---|--:|---|\n\
             | bare | 1,000 |  |\n\
             | janus | 1,500 (1.50) | new |\n\
             | otp | – | cannot: at all |\n"
        );
    }
}
