//! `cargo xtask test`: the command that the README gives to run all tests, word for word.

use anyhow::Result;

use crate::process;
use crate::workspace::Workspace;

/// Runs all tests with all features.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    process::run(&mut workspace.cargo(&["test", "--workspace", "--all-features"]))
}
