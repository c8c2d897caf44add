//! `cargo xtask unreached`: a `.rs` file that no target compiles is never tested, however good it looks.
//!
//! The compiler lists the files it has read in a dep-info file beside each artifact. Only those of the
//! artifacts that cargo names in this very run are read: what earlier builds left in the target directory
//! cannot vouch for a file.
//!
//! What this cannot see: a module for another platform (`#[cfg(windows)] mod ..`) is not compiled here. Such
//! a file has to be named in [`EXEMPT`].

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::process;
use crate::workspace::{Artifact, Workspace};

/// Folders and files that no target of this workspace compiles, and that is right.
const EXEMPT: [&str; 2] = [
    // A workspace of its own; the step `outside` runs it.
    "tests/outside",
    // Another; `cargo build` there builds it.
    "benches",
];

/// Names every source file that the compiler never opened.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let artifacts =
        workspace.artifacts(&["check", "--workspace", "--all-targets", "--all-features"])?;
    let mut compiled = BTreeSet::new();
    for artifact in &artifacts {
        for file in dep_info_files(artifact)? {
            let text = fs::read_to_string(&file)
                .with_context(|| format!("cannot read {}", file.display()))?;
            for source in sources(&text) {
                // The compiler is started in the root, and names what lies below relative to it.
                compiled.insert(normal(&workspace.root.join(source)));
            }
        }
    }
    ensure!(
        !compiled.is_empty(),
        "cargo check names no source file at all"
    );

    let unreached = unreached(&workspace.root, &source_files(workspace)?, &compiled);
    if !unreached.is_empty() {
        bail!("no target compiles:\n  {}", unreached.join("\n  "));
    }
    Ok(())
}

/// Those of `files` (relative to `root`) that are neither compiled nor exempt.
fn unreached(root: &Path, files: &[String], compiled: &BTreeSet<PathBuf>) -> Vec<String> {
    files
        .iter()
        .filter(|file| {
            !EXEMPT
                .iter()
                .any(|exempt| Path::new(file).starts_with(exempt))
        })
        .filter(|file| !compiled.contains(&root.join(file)))
        .cloned()
        .collect()
}

/// The `.rs` files that git tracks or would offer to, relative to the root.
fn source_files(workspace: &Workspace) -> Result<Vec<String>> {
    let mut command = Command::new("git");
    command
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .args(["--", "*.rs"])
        .current_dir(&workspace.root);
    Ok(process::stdout_of(&mut command)?
        .split_terminator('\0')
        // A file that is deleted but not yet committed is still listed.
        .filter(|file| workspace.root.join(file).exists())
        .map(str::to_owned)
        .collect())
}

/// Where the compiler has written what it read for this artifact.
fn dep_info_files(artifact: &Artifact) -> Result<BTreeSet<PathBuf>> {
    let mut found = BTreeSet::new();
    for file in &artifact.files {
        let (Some(dir), Some(stem)) = (file.parent(), file.file_stem()) else {
            continue;
        };
        let stem = stem.to_string_lossy();
        let beside = dir.join(format!("{}.d", stem.strip_prefix("lib").unwrap_or(&stem)));
        if beside.exists() {
            found.insert(beside);
        } else {
            // A build script is renamed when it is built, but has a folder of its own.
            found.extend(dep_infos_of_build_script(dir)?);
        }
    }
    ensure!(
        !found.is_empty(),
        "the compiler left no dep-info for {}",
        artifact.source.display()
    );
    Ok(found)
}

/// All dep-info files in the folder of a build script; none in a folder that others share.
fn dep_infos_of_build_script(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    if !dir.parent().is_some_and(|parent| parent.ends_with("build")) {
        return Ok(found);
    }
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "d") {
            found.push(path);
        }
    }
    Ok(found)
}

/// The files that a dep-info names as read: it is a Makefile, where each rule `target: file file` says so, a
/// space in a name is escaped, and comments carry other things.
fn sources(dep_info: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for line in dep_info.lines().filter(|line| !line.starts_with('#')) {
        let Some((_, files)) = line.split_once(": ") else {
            continue;
        };
        let mut name = String::new();
        let mut chars = files.chars().peekable();
        while let Some(char) = chars.next() {
            match char {
                '\\' if chars.peek() == Some(&' ') => name.extend(chars.next()),
                ' ' => found.push(PathBuf::from(std::mem::take(&mut name))),
                other => name.push(other),
            }
        }
        found.push(PathBuf::from(name));
    }
    found.retain(|file| !file.as_os_str().is_empty());
    found
}

/// The path without `.` and `..`, as text: a target's `path = "../x.rs"` shows up in the dep-info as it is.
fn normal(path: &Path) -> PathBuf {
    let mut result = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                result.pop();
            }
            other => result.push(other),
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEP_INFO: &str = "\
/janus/target/debug/deps/janus-1.d: core/src/lib.rs core/src/phase.rs core/src/two\\ words.rs

/janus/target/debug/deps/libjanus-1.rmeta: core/src/lib.rs core/src/phase.rs core/src/two\\ words.rs

core/src/lib.rs:
core/src/phase.rs:
core/src/two\\ words.rs:

# env-dep:CARGO_PKG_NAME=janus: unread.rs
";

    fn compiled(root: &str) -> BTreeSet<PathBuf> {
        sources(DEP_INFO)
            .iter()
            .map(|source| normal(&Path::new(root).join(source)))
            .collect()
    }

    #[test]
    fn dep_info_names_what_was_read() {
        let expected = [
            "core/src/lib.rs",
            "core/src/phase.rs",
            "core/src/two words.rs",
        ];
        let found: BTreeSet<PathBuf> = sources(DEP_INFO).into_iter().collect();
        assert_eq!(found, expected.map(PathBuf::from).into());
    }

    #[test]
    fn file_that_is_named_by_nobody_is_unreached() {
        let files = ["core/src/phase.rs", "core/src/forgotten.rs"].map(str::to_owned);
        assert_eq!(
            unreached(Path::new("/janus"), &files, &compiled("/janus")),
            ["core/src/forgotten.rs"]
        );
    }

    #[test]
    fn program_outside_the_workspace_is_exempt() {
        let files = ["tests/outside/src/main.rs", "tests/outsider.rs"].map(str::to_owned);
        assert_eq!(
            unreached(Path::new("/janus"), &files, &compiled("/janus")),
            ["tests/outsider.rs"]
        );
    }

    #[test]
    fn detours_in_a_path_are_removed() {
        assert_eq!(
            normal(Path::new("/janus/tests/../examples/./fleet/main.rs")),
            Path::new("/janus/examples/fleet/main.rs")
        );
    }
}
