//! `cargo xtask edges`: the crates know only whom they may know.
//!
//! 1. Between the crates of this workspace only the arrows in [`ARROWS`] exist: as normal and as build
//!    dependencies, also behind a feature or for one platform. A dev-dependency is not excused: what needs
//!    two crates at once is tested in `janus-tests`.
//! 2. `janus-tests` may know every crate, `xtask` none of them, and no published crate knows either.
//! 3. With all features, nothing in the tree of a pure crate is a runtime, a future or a logger; without
//!    any, `thiserror` is all it brings along.
//! 4. The exporter runs without tokio.

use anyhow::{Context, Result, bail};

use crate::process;
use crate::workspace::{Kind, Package, Workspace};

/// Who may depend on whom. A new crate has no arrows until it is given some here.
const ARROWS: [(&str, &str); 3] = [
    ("janus-supervisor", "janus-lifecycle"),
    ("janus-supervisor", "janus-backoff"),
    ("janus-metrics-otel", "janus-lifecycle"),
];

/// The package that may depend on every other.
const TESTS: &str = "janus-tests";

/// The crates without a runtime.
const PURE: [&str; 2] = ["janus-lifecycle", "janus-backoff"];

/// What no pure crate has in its tree: whole families, `tokio` standing for `tokio-util` as well.
const IMPURE: [&str; 3] = ["tokio", "futures", "tracing"];

/// What a pure crate may depend on when no feature is asked for.
const PURE_DEFAULT: [&str; 1] = ["thiserror"];

/// The crate that turns events into metrics.
const EXPORTER: &str = "janus-metrics-otel";

/// Checks all rules, and names every edge that breaks one.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let mut violations = forbidden_arrows(&workspace.packages);
    for name in PURE {
        workspace.package(name).with_context(|| {
            format!("{name} is gone: the rules for it in edges.rs check nothing")
        })?;
        let all = tree(workspace, name, &["--all-features"])?;
        violations.extend(forbidden_families(&chains(&all)?, &IMPURE));
        let default = tree(workspace, name, &[])?;
        violations.extend(forbidden_neighbours(&chains(&default)?, &PURE_DEFAULT));
    }
    if workspace.package(EXPORTER).is_some() {
        let all = tree(workspace, EXPORTER, &["--all-features"])?;
        violations.extend(forbidden_families(&chains(&all)?, &["tokio"]));
    }
    if !violations.is_empty() {
        bail!("forbidden edges:\n  {}", violations.join("\n  "));
    }
    Ok(())
}

/// Rules 1 and 2, on what the manifests declare.
fn forbidden_arrows(packages: &[Package]) -> Vec<String> {
    let is_member = |name: &str| packages.iter().any(|package| package.name == name);
    let mut violations = Vec::new();
    for from in packages.iter().filter(|package| package.name != TESTS) {
        for to in from.dependencies.iter().filter(|to| is_member(&to.name)) {
            let arrow = (from.name.as_str(), to.name.as_str());
            let rule = match to.kind {
                Kind::Normal | Kind::Build if ARROWS.contains(&arrow) => continue,
                Kind::Normal | Kind::Build => "is not among the allowed arrows",
                Kind::Dev => {
                    "is a dev-dependency between members; such a test belongs in janus-tests"
                }
            };
            violations.push(format!("{} -> {} {rule}", arrow.0, arrow.1));
        }
    }
    violations
}

/// Rules 3 and 4: no package of these families anywhere in the tree. What such a package brings along is not
/// named again.
fn forbidden_families(chains: &[Vec<&str>], families: &[&str]) -> Vec<String> {
    let family_of = |name: &str| {
        families.iter().find(|family| {
            name.strip_prefix(**family)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '_']))
        })
    };
    let mut violations = Vec::new();
    for chain in chains {
        let [root, between @ .., name] = chain.as_slice() else {
            continue;
        };
        let Some(family) = family_of(name) else {
            continue;
        };
        if between.iter().all(|name| family_of(name).is_none()) {
            violations.push(format!(
                "{} brings `{family}` into the tree of {root}, which does without",
                chain.join(" -> ")
            ));
        }
    }
    violations
}

/// The second half of rule 3: nobody but `allowed` directly below the root.
fn forbidden_neighbours(chains: &[Vec<&str>], allowed: &[&str]) -> Vec<String> {
    let mut violations = Vec::new();
    for chain in chains {
        if let [root, name] = chain.as_slice() {
            if !allowed.contains(name) {
                violations.push(format!(
                    "{root} -> {name} is there without a feature being asked for; only {} may be",
                    allowed.join(", ")
                ));
            }
        }
    }
    violations
}

/// What `name` depends on, on any platform, its dev-dependencies aside.
///
/// `cargo tree` and not `cargo metadata`, because the latter resolves the workspace as a whole: there a
/// feature that one member asks for shows in the trees of all.
fn tree(workspace: &Workspace, name: &str, features: &[&str]) -> Result<String> {
    let mut command = workspace.cargo(&["tree", "--package", name, "--edges", "normal,build"]);
    command
        .args(["--target", "all", "--prefix", "depth", "--format", " {p}"])
        .args(features);
    process::stdout_of(&mut command)
}

/// Reads `cargo tree --prefix depth --format " {p}"`: for every line the names from the root down to it.
fn chains(tree: &str) -> Result<Vec<Vec<&str>>> {
    let mut chain = Vec::new();
    let mut chains = Vec::new();
    for line in tree.lines().filter(|line| !line.is_empty()) {
        let mut words = line.split(' ');
        let depth: usize = words
            .next()
            .and_then(|word| word.parse().ok())
            .with_context(|| format!("no depth in this line of cargo tree: {line}"))?;
        let name = words
            .next()
            .with_context(|| format!("no name in this line of cargo tree: {line}"))?;
        chain.truncate(depth);
        chain.push(name);
        chains.push(chain.clone());
    }
    Ok(chains)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// Each `(from, to, kind)` a declared dependency, between the packages that really exist.
    fn arrows(declared: &[(&str, &str, Value)]) -> Vec<String> {
        let members = [
            "janus-lifecycle",
            "janus-backoff",
            "janus-supervisor",
            "janus-metrics-otel",
            "janus-tests",
            "xtask",
        ];
        let packages: Vec<Value> = members
            .iter()
            .map(|name| {
                let dependencies: Vec<Value> = declared
                    .iter()
                    .filter(|(from, ..)| from == name)
                    .map(|(_, to, kind)| json!({ "name": to, "kind": kind }))
                    .collect();
                json!({
                    "id": name,
                    "name": name,
                    "manifest_path": format!("/janus/{name}/Cargo.toml"),
                    "dependencies": dependencies,
                })
            })
            .collect();
        let metadata = json!({
            "workspace_root": "/janus",
            "target_directory": "/janus/target",
            "packages": packages,
        });
        forbidden_arrows(&Workspace::from_metadata(&metadata).unwrap().packages)
    }

    #[test]
    fn arrows_of_the_design_are_allowed() {
        let normal = Value::Null;
        let dev = json!("dev");
        assert_eq!(
            arrows(&[
                ("janus-supervisor", "janus-lifecycle", normal.clone()),
                ("janus-supervisor", "janus-backoff", normal.clone()),
                ("janus-metrics-otel", "janus-lifecycle", normal.clone()),
                ("janus-supervisor", "tokio", normal.clone()),
                ("janus-supervisor", "anyhow", dev.clone()),
                ("janus-tests", "janus-supervisor", dev),
                ("janus-tests", "janus-backoff", normal.clone()),
                ("xtask", "anyhow", normal),
            ]),
            Vec::<String>::new()
        );
    }

    #[test]
    fn arrow_that_is_not_listed_is_refused() {
        for kind in [Value::Null, json!("build")] {
            assert_eq!(
                arrows(&[("janus-lifecycle", "janus-backoff", kind)]),
                ["janus-lifecycle -> janus-backoff is not among the allowed arrows"]
            );
        }
    }

    #[test]
    fn arrow_against_its_direction_is_refused() {
        assert_eq!(
            arrows(&[("janus-backoff", "janus-supervisor", Value::Null)]),
            ["janus-backoff -> janus-supervisor is not among the allowed arrows"]
        );
    }

    #[test]
    fn dev_dependency_is_refused_even_along_an_arrow() {
        assert_eq!(
            arrows(&[("janus-supervisor", "janus-lifecycle", json!("dev"))]),
            [
                "janus-supervisor -> janus-lifecycle is a dev-dependency between members; \
              such a test belongs in janus-tests"
            ]
        );
    }

    #[test]
    fn xtask_knows_nobody() {
        assert_eq!(
            arrows(&[("xtask", "janus-supervisor", Value::Null)]),
            ["xtask -> janus-supervisor is not among the allowed arrows"]
        );
    }

    #[test]
    fn published_crate_may_not_know_the_tests() {
        assert_eq!(
            arrows(&[("janus-supervisor", "janus-tests", json!("dev"))]).len(),
            1
        );
    }

    const PURE_TREE: &str = "\
0 janus-lifecycle v0.1.0 (/janus/janus-lifecycle)
1 serde v1.0.228
2 serde_core v1.0.228
1 thiserror v2.0.17
2 thiserror-impl v2.0.17 (proc-macro)
3 quote v1.0.42
";

    #[test]
    fn pure_tree_is_allowed() {
        let chains = chains(PURE_TREE).unwrap();
        assert!(forbidden_families(&chains, &IMPURE).is_empty());
    }

    #[test]
    fn runtime_deep_in_a_pure_tree_is_refused_with_its_path() {
        for name in ["tokio", "tokio-util", "futures-core", "tracing"] {
            let tree = format!("{PURE_TREE}2 {name} v1.0.0 (*)\n");
            let violations = forbidden_families(&chains(&tree).unwrap(), &IMPURE);
            let [violation] = violations.as_slice() else {
                panic!("{name}: {violations:?}");
            };
            let path = format!("janus-lifecycle -> thiserror -> {name} brings ");
            assert!(violation.starts_with(&path), "{violation}");
        }
    }

    #[test]
    fn family_below_a_forbidden_one_is_not_named_again() {
        let tree = "0 janus-backoff v0.1.0\n1 tokio-util v0.7.20\n2 futures-core v0.3.34\n";
        assert_eq!(
            forbidden_families(&chains(tree).unwrap(), &IMPURE),
            [
                "janus-backoff -> tokio-util brings `tokio` into the tree of janus-backoff, \
              which does without"
            ]
        );
    }

    #[test]
    fn name_that_only_begins_alike_is_another_family() {
        let tree = "0 janus-lifecycle v0.1.0\n1 tokioish v1.0.0\n";
        assert!(forbidden_families(&chains(tree).unwrap(), &IMPURE).is_empty());
    }

    #[test]
    fn pure_crate_brings_only_thiserror_by_default() {
        assert_eq!(
            forbidden_neighbours(&chains(PURE_TREE).unwrap(), &PURE_DEFAULT),
            [
                "janus-lifecycle -> serde is there without a feature being asked for; \
              only thiserror may be"
            ]
        );
    }

    #[test]
    fn exporter_with_tokio_is_refused() {
        let tree = "0 janus-metrics-otel v0.1.0\n1 opentelemetry_sdk v0.33.1\n2 tokio v1.54.0\n";
        assert_eq!(
            forbidden_families(&chains(tree).unwrap(), &["tokio"]),
            [
                "janus-metrics-otel -> opentelemetry_sdk -> tokio brings `tokio` into the tree of \
              janus-metrics-otel, which does without"
            ]
        );
    }

    #[test]
    fn tree_that_cannot_be_read_is_an_error() {
        assert!(chains("thiserror v2.0.17\n").is_err());
    }
}
