//! `cargo xtask outside`: a program that sees Janus as a stranger does.
//!
//! `tests/outside` is a workspace of its own and depends on the supervisor and tokio alone: what it needs and
//! cannot name is missing from the public interface, and no feature of this workspace reaches it.

use std::time::Duration;

use anyhow::Result;

use crate::process;
use crate::workspace::Workspace;

/// How long the program may run, once it is built.
const LIMIT: Duration = Duration::from_secs(60);

/// Builds the program in a target directory of its own, and runs it.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let cargo = |verb| {
        let mut command = workspace.cargo(&[verb, "--manifest-path", "tests/outside/Cargo.toml"]);
        command.env("CARGO_TARGET_DIR", workspace.target.join("outside"));
        command
    };
    process::run(&mut cargo("build"))?;
    process::run_within(&mut cargo("run"), LIMIT)
}
