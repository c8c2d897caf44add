//! `cargo xtask demo`: a small fleet to watch.

use anyhow::Result;

use crate::process;
use crate::workspace::Workspace;

/// Runs the example `fleet`, `args` passed on.
pub(crate) fn run(workspace: &Workspace, args: &[String]) -> Result<()> {
    let mut command = workspace.cargo(&["run", "--example", "fleet", "--"]);
    command.args(args);
    hand_over(command)
}

/// Becomes the command: a Ctrl-C then reaches only the fleet, which shuts down in its own time, and its exit
/// code is the one that the shell sees.
#[cfg(unix)]
fn hand_over(mut command: std::process::Command) -> Result<()> {
    use std::os::unix::process::CommandExt;

    let shown = process::announce(&command);
    Err(anyhow::Error::new(command.exec()).context(format!("cannot start `{shown}`")))
}

/// Waits for the command, where a process cannot become another.
#[cfg(not(unix))]
fn hand_over(mut command: std::process::Command) -> Result<()> {
    process::run(&mut command)
}
