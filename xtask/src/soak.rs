//! `cargo xtask soak`: thousands of services under a random storm, which ends flat or fails.

use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use crate::process;
use crate::workspace::Workspace;

/// Enough to see a leak of one service in four hundred, and short enough for every change.
const IN_CI: [&str; 4] = ["--for", "12s", "--ephemeral", "200000"];

/// Ten times what it takes. It ends its waits itself; this is for a runtime that hangs.
const LIMIT: Duration = Duration::from_secs(240);

/// Runs it for as long as `args` say; ten minutes, if they say nothing.
pub(crate) fn run(workspace: &Workspace, args: &[String]) -> Result<()> {
    let mut command = soak(workspace)?;
    process::run(command.args(args))
}

/// Runs it for a short time.
pub(crate) fn in_ci(workspace: &Workspace) -> Result<()> {
    let mut command = soak(workspace)?;
    process::run_within(command.args(IN_CI), LIMIT)
}

/// Builds it, and answers how to start it.
fn soak(workspace: &Workspace) -> Result<Command> {
    let build = ["build", "--release", "--package", "janus-tests"];
    let program = workspace.program(&[&build[..], &["--bin", "soak"]].concat(), "soak")?;
    Ok(Command::new(program))
}
