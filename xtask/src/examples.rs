//! `cargo xtask examples`: examples are documentation that runs.
//!
//! Those with a number (`01_first.rs`, or a folder `01_first` with a `main.rs`) teach, end by themselves and
//! are run here. The others, such as a fleet to watch, are only built.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::process;
use crate::workspace::Workspace;

/// No numbered example takes longer: one that waits for ever is one that hangs.
const LIMIT: Duration = Duration::from_secs(60);

/// Builds all examples, then runs the numbered ones in their order.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let programs: BTreeMap<PathBuf, PathBuf> = workspace
        .artifacts(&["build", "--workspace", "--examples", "--all-features"])?
        .into_iter()
        .filter_map(|built| Some((built.source, built.executable?)))
        .collect();

    // From the tree, not from what was built: an example that is no target must not go unnoticed.
    let mut numbered = Vec::new();
    for package in &workspace.packages {
        numbered.extend(numbered_in(&package.dir.join("examples"))?);
    }
    ensure!(!numbered.is_empty(), "there is no numbered example to run");

    for source in numbered {
        let program = programs
            .get(&source)
            .with_context(|| format!("{} is not built as an example", source.display()))?;
        let mut command = Command::new(program);
        command.current_dir(&workspace.root);
        process::run_within(&mut command, LIMIT)?;
    }
    Ok(())
}

/// The root source files of the numbered examples in this folder, in order. None if there is no such folder.
fn numbered_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    if !folder.is_dir() {
        return Ok(found);
    }
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if !path
            .file_name()
            .is_some_and(|name| is_numbered(&name.to_string_lossy()))
        {
            continue;
        }
        if path.is_dir() {
            found.push(path.join("main.rs"));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Whether a name begins as `07_` does.
fn is_numbered(name: &str) -> bool {
    matches!(name.as_bytes(), [a, b, b'_', ..] if a.is_ascii_digit() && b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_is_two_digits_and_an_underscore() {
        assert!(is_numbered("01_first.rs"));
        assert!(is_numbered("42_folder"));
        for other in [
            "fleet.rs",
            "1_short.rs",
            "001_long.rs",
            "01-dash.rs",
            "a1_x.rs",
            "",
        ] {
            assert!(!is_numbered(other), "{other}");
        }
    }

    #[test]
    fn no_folder_means_no_examples() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples-that-do-not-exist");
        assert_eq!(numbered_in(&folder).unwrap(), Vec::<PathBuf>::new());
    }
}
