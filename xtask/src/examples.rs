//! `cargo xtask examples`: examples are documentation that runs.
//!
//! All end by themselves and are run here, but for those that somebody watches.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::process;
use crate::workspace::Workspace;

/// No example takes longer: one that waits for ever is one that hangs.
const LIMIT: Duration = Duration::from_secs(60);

/// Examples that run until somebody stops them. The tests run these as processes.
const WATCHED: [&str; 1] = ["fleet"];

/// Builds all examples, then runs them in the order of their files.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let programs: BTreeMap<PathBuf, PathBuf> = workspace
        .artifacts(&["build", "--workspace", "--examples", "--all-features"])?
        .into_iter()
        .filter_map(|built| Some((built.source, built.executable?)))
        .collect();
    ensure!(!programs.is_empty(), "there is no example to run");
    for program in programs.values() {
        if WATCHED.iter().any(|name| program.ends_with(name)) {
            continue;
        }
        let mut command = Command::new(program);
        command.current_dir(&workspace.root);
        process::run_within(&mut command, LIMIT)?;
    }
    Ok(())
}
