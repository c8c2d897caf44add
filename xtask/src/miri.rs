//! `cargo xtask miri`: the tests that Miri can run in reasonable time, in the interpreter that sees undefined
//! behaviour.
//!
//! There is no `unsafe` here, so this looks at how the libraries below are used. It needs a nightly toolchain with
//! Miri, and is no part of the CI: nobody who uses or changes this workspace has to have one.

use std::process::{Command, Stdio};

use anyhow::{Result, ensure};

use crate::process;
use crate::workspace::Workspace;

/// What carries: for each its cargo arguments, and those of its tests.
const PARTS: [(&[&str], &[&str]); 3] = [
    (
        &[
            "--package=janus-lifecycle",
            "--all-features",
            "--lib",
            "--tests",
        ],
        &[],
    ),
    // `schedule` draws thousands of delays a test: not done after seven minutes.
    (
        &[
            "--package=janus-backoff",
            "--all-features",
            "--lib",
            "--test=half_open",
            "--test=properties",
            "--test=readme",
        ],
        &[],
    ),
    // All short histories take seconds in a program, and days in an interpreter.
    (
        &[
            "--package=janus-supervisor",
            "--all-features",
            "--lib",
            "--test=machine",
            "--test=group",
        ],
        &["--skip", "exhaustive", "--skip", "limits_nobody"],
    ),
];

/// Runs them one after the other.
pub(crate) fn run(workspace: &Workspace, args: &[String]) -> Result<()> {
    ensure!(args.is_empty(), "`miri` takes no arguments");
    ensure!(
        is_there(),
        "there is no nightly toolchain with Miri: rustup toolchain install nightly --component miri --component rust-src"
    );
    for (cargo, tests) in PARTS {
        let mut command = nightly();
        command
            .current_dir(&workspace.root)
            .args(["miri", "test"])
            .args(cargo)
            .arg("--")
            .args(tests)
            // Tests read golden files. What a panic carries that came out of an error's own code is forgotten on
            // purpose.
            .env("MIRIFLAGS", "-Zmiri-disable-isolation -Zmiri-ignore-leaks")
            // An interpreter is a thousand times slower.
            .env("PROPTEST_CASES", "2");
        process::run(&mut command)?;
    }
    Ok(())
}

fn is_there() -> bool {
    let mut version = nightly();
    version.args(["miri", "--version"]);
    version.stdout(Stdio::null()).stderr(Stdio::null());
    version.status().is_ok_and(|status| status.success())
}

/// rustup's cargo, which can choose a toolchain, and not the one that runs this chore.
fn nightly() -> Command {
    let mut command = Command::new("cargo");
    command.arg("+nightly").env_remove("CARGO");
    command
}
