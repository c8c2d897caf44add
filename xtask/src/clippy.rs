//! `cargo xtask clippy`: no warnings, neither together nor alone.
//!
//! A build of the whole workspace gives every crate the features that any of them asks for, so a crate that
//! forgot to ask still compiles there. Therefore each package is checked once more by itself, with its
//! default features, with none and with all.

use anyhow::Result;

use crate::process;
use crate::workspace::{Package, Workspace};

/// Lints the workspace, then each package alone.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    lint(workspace, &["--workspace", "--all-features"])?;
    for package in &workspace.packages {
        for features in feature_sets(package) {
            let mut selection = vec!["--package", package.name.as_str()];
            selection.extend(features);
            lint(workspace, &selection)?;
        }
    }
    Ok(())
}

/// The flags to check a package with: a package without features has only one way to be built.
fn feature_sets(package: &Package) -> Vec<Option<&'static str>> {
    if package.has_features {
        vec![None, Some("--no-default-features"), Some("--all-features")]
    } else {
        vec![None]
    }
}

/// Lints what `selection` names, warnings denied.
fn lint(workspace: &Workspace, selection: &[&str]) -> Result<()> {
    let mut command = workspace.cargo(&["clippy", "--all-targets"]);
    command.args(selection).args(["--", "-D", "warnings"]);
    process::run(&mut command)
}
