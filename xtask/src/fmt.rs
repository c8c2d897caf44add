//! `cargo xtask fmt`: says what rustfmt would change, and changes nothing.

use anyhow::Result;

use crate::process;
use crate::workspace::Workspace;

/// Checks the formatting of all members.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    process::run(&mut workspace.cargo(&["fmt", "--all", "--check"]))
}
