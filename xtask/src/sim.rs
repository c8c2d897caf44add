//! `cargo xtask sim`: whole histories of a supervisor on a paused clock, checked against a model.
//!
//! The program is `tests/sim/`; what it can be told is documented there. It is built for release: it lives through
//! thousands of histories a second.

use anyhow::Result;

use crate::process;
use crate::workspace::Workspace;

/// As a step of the CI: the fixed seeds, then fresh ones.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    run_with(workspace, &[])
}

/// With arguments: `--seeds N` histories `--from S` on, and `--fresh N`.
pub(crate) fn run_with(workspace: &Workspace, args: &[String]) -> Result<()> {
    let mut command = workspace.cargo(&[
        "run",
        "--quiet",
        "--release",
        "--package",
        "janus-tests",
        "--bin",
        "sim",
        "--",
    ]);
    command.args(args);
    process::run(&mut command)
}
