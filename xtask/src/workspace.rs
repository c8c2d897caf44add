//! The workspace as `cargo metadata` tells it: where it is, which packages it has, what they declare.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::process;

/// The workspace that these chores serve.
pub(crate) struct Workspace {
    /// The directory of the root manifest.
    pub(crate) root: PathBuf,
    /// Where cargo builds, wherever the user has moved that to.
    pub(crate) target: PathBuf,
    /// All members, published or not.
    pub(crate) packages: Vec<Package>,
}

/// A member of the workspace, by its manifest.
pub(crate) struct Package {
    /// Cargo's identifier, as its messages use it.
    pub(crate) id: String,
    /// The package's name.
    pub(crate) name: String,
    /// The directory of its manifest.
    pub(crate) dir: PathBuf,
    /// False for `publish = false`.
    pub(crate) published: bool,
    /// Whether it declares any feature.
    pub(crate) has_features: bool,
    /// What it says about itself.
    pub(crate) description: Option<String>,
    /// The SPDX expression.
    pub(crate) license: Option<String>,
    /// Relative to `dir`.
    pub(crate) readme: Option<PathBuf>,
    /// All declared dependencies: optional ones and those of other platforms, too.
    pub(crate) dependencies: Vec<Dependency>,
}

/// A dependency that a manifest declares.
pub(crate) struct Dependency {
    /// The name of the package, also where the manifest renames it.
    pub(crate) name: String,
    /// The section it stands in.
    pub(crate) kind: Kind,
}

/// The sections of a manifest that declare dependencies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `[dependencies]`
    Normal,
    /// `[build-dependencies]`
    Build,
    /// `[dev-dependencies]`
    Dev,
}

impl Workspace {
    /// Asks cargo. Works from any directory of the workspace.
    pub(crate) fn read() -> Result<Self> {
        let mut command = process::cargo();
        // Declared dependencies are enough; resolving them here would only make each chore slower.
        command.args(["metadata", "--format-version", "1", "--no-deps"]);
        let text = process::stdout_of(&mut command)?;
        Self::from_metadata(&serde_json::from_str(&text)?)
    }

    /// Takes from the answer of `cargo metadata --no-deps` what the chores need.
    pub(crate) fn from_metadata(metadata: &Value) -> Result<Self> {
        Ok(Self {
            root: PathBuf::from(text(metadata, "workspace_root")?),
            target: PathBuf::from(text(metadata, "target_directory")?),
            packages: list(metadata, "packages")?
                .iter()
                .map(package)
                .collect::<Result<_>>()?,
        })
    }

    /// A cargo command with these arguments, in the root of the workspace.
    pub(crate) fn cargo(&self, args: &[&str]) -> Command {
        let mut command = process::cargo();
        command.args(args).current_dir(&self.root);
        command
    }

    /// The member of this name.
    pub(crate) fn package(&self, name: &str) -> Option<&Package> {
        self.packages.iter().find(|package| package.name == name)
    }

    /// What `cargo <args>` says it has built or found fresh, of this workspace's own packages.
    pub(crate) fn artifacts(&self, args: &[&str]) -> Result<Vec<Artifact>> {
        let mut command = self.cargo(args);
        command.arg("--message-format=json-render-diagnostics");
        let messages = process::stdout_of(&mut command)?;
        let mut artifacts = Vec::new();
        for line in messages.lines() {
            let message: Value = serde_json::from_str(line)
                .with_context(|| format!("not a message of cargo's: {line}"))?;
            if message["reason"] == "compiler-artifact" && self.owns(&message["package_id"]) {
                artifacts.push(artifact(&message)?);
            }
        }
        Ok(artifacts)
    }

    /// The program of this name that `cargo <args>` builds.
    pub(crate) fn program(&self, args: &[&str], name: &str) -> Result<PathBuf> {
        let built = self.artifacts(args)?;
        let mut programs = built.into_iter().filter_map(|built| built.executable);
        programs
            .find(|program| program.file_stem().is_some_and(|stem| stem == name))
            .with_context(|| format!("cargo has built no `{name}`"))
    }

    /// Whether a package id of cargo's is one of a member.
    fn owns(&self, id: &Value) -> bool {
        self.packages.iter().any(|package| package.id == *id)
    }
}

/// What cargo has made of one target of a member.
pub(crate) struct Artifact {
    /// The root source file of the target.
    pub(crate) source: PathBuf,
    /// The files it was compiled to.
    pub(crate) files: Vec<PathBuf>,
    /// The program, if it is one that can be run.
    pub(crate) executable: Option<PathBuf>,
}

/// Reads one `compiler-artifact` message.
fn artifact(message: &Value) -> Result<Artifact> {
    Ok(Artifact {
        source: PathBuf::from(text(&message["target"], "src_path")?),
        files: list(message, "filenames")?
            .iter()
            .filter_map(Value::as_str)
            .map(PathBuf::from)
            .collect(),
        executable: message["executable"].as_str().map(PathBuf::from),
    })
}

/// Reads one entry of `packages`.
fn package(value: &Value) -> Result<Package> {
    let optional = |key: &str| value[key].as_str().map(str::to_owned);
    let manifest = text(value, "manifest_path")?;
    Ok(Package {
        id: text(value, "id")?.to_owned(),
        name: text(value, "name")?.to_owned(),
        dir: Path::new(manifest)
            .parent()
            .with_context(|| format!("{manifest} lies in no directory"))?
            .to_owned(),
        // `null` means any registry, a list means these, and an empty list none.
        published: value["publish"]
            .as_array()
            .is_none_or(|registries| !registries.is_empty()),
        has_features: value["features"]
            .as_object()
            .is_some_and(|features| !features.is_empty()),
        description: optional("description"),
        license: optional("license"),
        readme: optional("readme").map(PathBuf::from),
        dependencies: list(value, "dependencies")?
            .iter()
            .map(dependency)
            .collect::<Result<_>>()?,
    })
}

/// Reads one entry of a package's `dependencies`.
fn dependency(value: &Value) -> Result<Dependency> {
    Ok(Dependency {
        name: text(value, "name")?.to_owned(),
        kind: match value["kind"].as_str() {
            None => Kind::Normal,
            Some("build") => Kind::Build,
            Some("dev") => Kind::Dev,
            Some(other) => bail!("cargo knows a kind of dependency that we do not: {other}"),
        },
    })
}

/// The string at `key`.
fn text<'a>(value: &'a Value, key: &str) -> Result<&'a str> {
    value[key]
        .as_str()
        .with_context(|| format!("cargo names no `{key}`"))
}

/// The list at `key`.
fn list<'a>(value: &'a Value, key: &str) -> Result<&'a Vec<Value>> {
    value[key]
        .as_array()
        .with_context(|| format!("cargo gives no list `{key}`"))
}
