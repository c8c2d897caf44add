//! `cargo xtask package`: every published crate could be published now.

use std::fs;

use anyhow::{Result, bail, ensure};

use crate::clock;
use crate::process;
use crate::workspace::{Package, Workspace};

/// The two licenses that the manifests offer.
const LICENSES: [&str; 2] = ["LICENSE-MIT", "LICENSE-APACHE"];

/// Checks what a registry wants to know, then packages the crates and builds them from their packages.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let mut missing = Vec::new();
    for file in LICENSES {
        if !workspace.root.join(file).is_file() {
            missing.push(format!("{file} in the root"));
        }
    }
    let (published, private): (Vec<&Package>, Vec<&Package>) = workspace
        .packages
        .iter()
        .partition(|package| package.published);
    ensure!(!published.is_empty(), "no crate here is published");
    for package in published {
        missing.extend(missing_in(package));
    }
    if !missing.is_empty() {
        bail!("missing:\n  {}", missing.join("\n  "));
    }

    // In a folder that never was: cargo keeps what it once unpacked there, and would build one crate against another's
    // past.
    let folder = workspace.target.join(format!("package-{}", clock::stamp()));
    // --allow-dirty, so that a change can be checked before it is committed.
    let mut command = workspace.cargo(&["package", "--workspace", "--allow-dirty", "--target-dir"]);
    command.arg(&folder);
    for package in private {
        command.args(["--exclude", &package.name]);
    }
    let packaged = process::run(&mut command);
    fs::remove_dir_all(&folder)?;
    packaged
}

/// What the manifest of a published crate does not say, or says of a file that is not there.
fn missing_in(package: &Package) -> Vec<String> {
    let blank = |field: &Option<String>| field.as_ref().is_none_or(|text| text.trim().is_empty());
    let mut missing = Vec::new();
    if blank(&package.description) {
        missing.push(format!("the description of {}", package.name));
    }
    if blank(&package.license) {
        missing.push(format!("the license of {}", package.name));
    }
    match &package.readme {
        None => missing.push(format!("the readme of {}", package.name)),
        Some(readme) if !package.dir.join(readme).is_file() => {
            missing.push(format!("{} of {}", readme.display(), package.name));
        }
        Some(_) => {}
    }
    missing
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;

    fn complete() -> Package {
        Package {
            id: "janus".to_owned(),
            name: "janus".to_owned(),
            // A folder that surely has a file to point to: this crate's.
            dir: Path::new(env!("CARGO_MANIFEST_DIR")).to_owned(),
            published: true,
            has_features: false,
            description: Some("Supervision".to_owned()),
            license: Some("MIT".to_owned()),
            readme: Some(PathBuf::from("Cargo.toml")),
            dependencies: Vec::new(),
        }
    }

    #[test]
    fn complete_manifest_misses_nothing() {
        assert_eq!(missing_in(&complete()), Vec::<String>::new());
    }

    #[test]
    fn every_gap_is_named() {
        let bare = Package {
            description: None,
            license: Some(" ".to_owned()),
            readme: None,
            ..complete()
        };
        assert_eq!(
            missing_in(&bare),
            [
                "the description of janus",
                "the license of janus",
                "the readme of janus"
            ]
        );
    }

    #[test]
    fn readme_must_be_a_file() {
        let package = Package {
            readme: Some(PathBuf::from("NOT-THERE.md")),
            ..complete()
        };
        assert_eq!(missing_in(&package), ["NOT-THERE.md of janus"]);
    }
}
