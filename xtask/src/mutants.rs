//! `cargo xtask mutants`: breaks what decides, in one place at a time, and sees whether a test notices.
//!
//! Every mutant that no test notices must be in `tests/mutants.txt`, with the reason why that is all right; and
//! whatever is there must still go unnoticed. Line numbers are left out, so that the list need not follow every edit.
//!
//! cargo-mutants makes the mutants. It is no part of the CI: a whole run takes an hour or two on two processors.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::process;
use crate::workspace::Workspace;

/// The version whose mutants the list knows: another one may make others.
const VERSION: &str = "27";

/// The survivors that are known, and why they may live.
const LIST: &str = "tests/mutants.txt";

/// What is mutated, and which tests are to notice.
struct Suite {
    name: &'static str,
    packages: &'static [&'static str],
    /// The folders whose files are mutated.
    folders: &'static [&'static str],
    /// What cargo is to build and run.
    targets: &'static [&'static str],
    /// The tests that take long. Only what all others let live is shown to them.
    slow: Option<&'static str>,
}

const SUITES: [Suite; 2] = [
    Suite {
        name: "pure",
        packages: &["janus-lifecycle", "janus-backoff"],
        folders: &["janus-lifecycle/src", "janus-backoff/src"],
        targets: &["--lib", "--tests"],
        slow: None,
    },
    Suite {
        name: "machine",
        packages: &["janus-supervisor"],
        folders: &[
            "janus-supervisor/src/machine",
            "janus-supervisor/src/registry",
        ],
        targets: &["--lib", "--test=machine", "--test=group"],
        slow: Some("exhaustive"),
    },
];

/// Runs all mutants, or those of the files that are named: `cargo xtask mutants gate.rs rules.rs`.
pub(crate) fn run(workspace: &Workspace, files: &[String]) -> Result<()> {
    if let Some(other) = files.iter().find(|file| !file.ends_with(".rs")) {
        bail!("`mutants` takes names of source files, and `{other}` is none");
    }
    let list = workspace.root.join(LIST);
    let list = fs::read_to_string(&list).with_context(|| format!("cannot read {LIST}"))?;
    let known = known(&list)?;
    let tool = tool(workspace)?;
    let mut survivors = Vec::new();
    for suite in &SUITES {
        survivors.extend(survivors_of(workspace, &tool, suite, files)?);
    }
    let is_run = |mutant: &str| {
        let file = mutant.split(": ").next().unwrap_or_default();
        files.is_empty() || files.iter().any(|name| Path::new(file).ends_with(name))
    };
    let known = known.into_iter().filter(|mutant| is_run(mutant)).collect();
    let differences = differences(known, survivors);
    ensure!(
        differences.is_empty(),
        "not as {LIST} has it:\n  {}",
        differences.join("\n  ")
    );
    Ok(())
}

/// The program, with what comes before its arguments. Installed into the target directory, if there is none.
fn tool(workspace: &Workspace) -> Result<Vec<PathBuf>> {
    let cargo = PathBuf::from(process::cargo().get_program());
    if version_of(process::cargo().arg("mutants")) {
        return Ok(vec![cargo, "mutants".into()]);
    }
    let root = workspace.target.join("tools");
    let own = root.join("bin/cargo-mutants");
    if !version_of(Command::new(&own).arg("mutants")) {
        println!(
            "no cargo-mutants {VERSION} here: cargo builds it into {}, which takes some minutes",
            root.display()
        );
        let mut command = workspace.cargo(&["install", "--locked", "--root"]);
        command
            .arg(&root)
            .args(["--version", &format!("^{VERSION}"), "cargo-mutants"]);
        process::run(&mut command)?;
    }
    Ok(vec![own, "mutants".into()])
}

/// Whether it is there, in the version that is wanted.
fn version_of(command: &mut Command) -> bool {
    let output = command.arg("--version").stderr(Stdio::null()).output();
    let wanted = format!("cargo-mutants {VERSION}.");
    output.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).starts_with(&wanted))
}

/// Runs one suite, and answers what nothing has noticed.
fn survivors_of(
    workspace: &Workspace,
    tool: &[PathBuf],
    suite: &Suite,
    files: &[String],
) -> Result<Vec<String>> {
    let out = workspace.target.join("mutants").join(suite.name);
    if out.exists() {
        fs::remove_dir_all(&out)?;
    }
    fs::create_dir_all(&out)?;
    // A mutant that hangs is one that was noticed.
    let mut quick = command(workspace, tool, suite, files, &out);
    quick.arg("--timeout=60");
    if let Some(slow) = suite.slow {
        quick.args(["--", "--", "--skip", slow]);
    }
    test(&mut quick)?;
    let missed = missed(&out)?;
    if suite.slow.is_none() || missed.is_empty() {
        return missed.iter().map(|line| without_place(line)).collect();
    }
    let mut slow = command(workspace, tool, suite, files, &out);
    slow.args(["--timeout=600", "--baseline=skip"]);
    slow.args(missed.iter().map(|line| format!("--re={}", pattern(line))));
    test(&mut slow)?;
    let missed = self::missed(&out)?;
    missed.iter().map(|line| without_place(line)).collect()
}

/// An expression for this line: what is neither letter nor digit may be anything.
fn pattern(line: &str) -> String {
    let letter = |c: char| if c.is_alphanumeric() { c } else { '.' };
    let line: String = line.chars().map(letter).collect();
    format!("^{line}$")
}

/// cargo-mutants for a suite. Each mutant gets a copy of the workspace, with a target directory of its own.
fn command(
    workspace: &Workspace,
    tool: &[PathBuf],
    suite: &Suite,
    files: &[String],
    out: &Path,
) -> Command {
    let mut command = Command::new(&tool[0]);
    command
        .args(&tool[1..])
        .current_dir(&workspace.root)
        .env_remove("CARGO_TARGET_DIR")
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        .args(["--all-features", "--gitignore=true", "--jobs=2"])
        .arg("--output")
        .arg(out);
    for package in suite.packages {
        command.arg(format!("--package={package}"));
    }
    for folder in suite.folders {
        let whole = files.is_empty().then(|| format!("--file={folder}/**/*.rs"));
        let named = files
            .iter()
            .map(|file| format!("--file={folder}/**/{file}"));
        command.args(whole.into_iter().chain(named));
    }
    for target in suite.targets {
        command.arg(format!("--cargo-arg={target}"));
    }
    command
}

/// Runs it. That it has survivors, or mutants that hang, is no failure here.
fn test(command: &mut Command) -> Result<()> {
    const MISSED: i32 = 2;
    const TIMEOUT: i32 = 3;
    let shown = process::announce(command);
    let status = command
        .status()
        .with_context(|| format!("cannot start `{shown}`"))?;
    let is_done = matches!(status.code(), Some(0 | MISSED | TIMEOUT));
    ensure!(is_done, "`{shown}`: {status}");
    Ok(())
}

/// The survivors of the last run, as cargo-mutants names them.
fn missed(out: &Path) -> Result<Vec<String>> {
    let file = out.join("mutants.out/missed.txt");
    if !file.exists() {
        return Ok(Vec::new()); // no file of the suite was named
    }
    let text = fs::read_to_string(&file)?;
    Ok(text.lines().map(str::to_owned).collect())
}

/// `file.rs:12:5: replace ..` -> `file.rs: replace ..`
fn without_place(line: &str) -> Result<String> {
    let short = line.split_once(": ").and_then(|(place, what)| {
        let file = place.split(':').next()?;
        Some(format!("{file}: {what}"))
    });
    short.with_context(|| format!("not a mutant: {line}"))
}

/// The mutants of the list: `mutant # why`. Empty lines and those that begin with `#` say nothing.
fn known(list: &str) -> Result<Vec<String>> {
    let mut known = Vec::new();
    for line in list.lines() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match line.split_once(" # ") {
            Some((mutant, why)) if !why.trim().is_empty() => known.push(mutant.trim().to_owned()),
            _ => bail!("{LIST} does not say why: {line}"),
        }
    }
    Ok(known)
}

/// How the survivors differ from those that are known. One that stands in the list twice may live in two places.
fn differences(known: Vec<String>, survivors: Vec<String>) -> Vec<String> {
    let mut balance: BTreeMap<String, i32> = BTreeMap::new();
    for mutant in survivors {
        *balance.entry(mutant).or_default() += 1;
    }
    for mutant in known {
        *balance.entry(mutant).or_default() -= 1;
    }
    let told = balance.into_iter().filter_map(|(mutant, n)| match n {
        0 => None,
        1.. => Some(format!("no test notices: {mutant}")),
        _ => Some(format!("does not live any longer: {mutant}")),
    });
    told.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Vec<String> {
        known(text).unwrap()
    }

    #[test]
    fn survivor_that_is_not_listed_and_listed_one_that_is_gone_are_told() {
        let known = list("# why not\n\na.rs: x # equal\nb.rs: y # never run\nb.rs: y # nor this\n");
        let survivors = ["a.rs:1:2: x", "b.rs:3:4: y", "c.rs:5:6: z -> Option<A: B>"];
        let survivors = survivors.map(|line| without_place(line).unwrap());
        assert_eq!(
            differences(known, survivors.into()),
            [
                "does not live any longer: b.rs: y",
                "no test notices: c.rs: z -> Option<A: B>"
            ]
        );
    }

    #[test]
    fn pattern_is_that_of_the_whole_line() {
        assert_eq!(pattern("a.rs:1:2: f -> ()"), "^a.rs.1.2..f......$");
    }

    #[test]
    fn list_has_to_say_why() {
        for text in ["a.rs: x", "a.rs: x # ", "a.rs: x #equal"] {
            assert!(known(text).is_err(), "{text}");
        }
    }

    #[test]
    fn list_of_the_workspace_can_be_read() {
        let list = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(LIST);
        assert!(known(&fs::read_to_string(list).unwrap()).is_ok());
    }
}
