//! `cargo xtask doc`: the documentation, as docs.rs would show it.

use anyhow::Result;

use crate::process;
use crate::workspace::Workspace;

/// Builds the documentation of all members, warnings (a broken link, say) denied.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let mut command = workspace.cargo(&["doc", "--workspace", "--no-deps", "--all-features"]);
    command.env("RUSTDOCFLAGS", "-D warnings");
    process::run(&mut command)
}
