//! `cargo xtask chaos`: the example `fleet` as a process that is stopped, goes on, and is ended at any moment.

use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use crate::process;
use crate::workspace::Workspace;

/// Enough that each kind of beginning and end is among them.
const IN_CI: [&str; 2] = ["--runs", "24"];

/// Ten times what it takes. It ends its waits itself.
const LIMIT: Duration = Duration::from_secs(240);

/// Runs it as often as `args` say; two hundred times, if they say nothing.
pub(crate) fn run(workspace: &Workspace, args: &[String]) -> Result<()> {
    let mut command = chaos(workspace)?;
    process::run(command.args(args))
}

/// Runs it a few times.
pub(crate) fn in_ci(workspace: &Workspace) -> Result<()> {
    let mut command = chaos(workspace)?;
    process::run_within(command.args(IN_CI), LIMIT)
}

/// Builds it and the fleet, as the tests do, and answers how to start it.
fn chaos(workspace: &Workspace) -> Result<Command> {
    let build = ["build", "--package", "janus-tests"];
    let fleet = workspace.program(&[&build[..], &["--example", "fleet"]].concat(), "fleet")?;
    let chaos = workspace.program(&[&build[..], &["--bin", "chaos"]].concat(), "chaos")?;
    let mut command = Command::new(chaos);
    command.arg("--fleet").arg(fleet);
    Ok(command)
}
