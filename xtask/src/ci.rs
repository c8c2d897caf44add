//! `cargo xtask ci`: all that must hold before a change goes in.

use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::workspace::Workspace;
use crate::{
    chaos, clippy, clock, counts, doc, edges, examples, fmt, fuzz, outside, package, sim, soak,
    test, unreached,
};

/// One step of the CI, which is a chore of its own as well.
pub(crate) struct Step {
    /// What it is called on the command line and in the table at the end.
    pub(crate) name: &'static str,
    /// What it makes sure of, for the usage text.
    pub(crate) about: &'static str,
    /// Does it.
    pub(crate) run: fn(&Workspace) -> Result<()>,
}

/// The whole CI, in order: the tests first, then what is quick and fails most often.
pub(crate) const STEPS: &[Step] = &[
    Step {
        name: "test",
        about: "all tests, by the README's command",
        run: test::run,
    },
    Step {
        name: "fmt",
        about: "formatted as rustfmt does it",
        run: fmt::run,
    },
    Step {
        name: "clippy",
        about: "no warning, in the workspace and in each package alone",
        run: clippy::run,
    },
    Step {
        name: "doc",
        about: "the documentation builds without a warning",
        run: doc::run,
    },
    Step {
        name: "edges",
        about: "no crate depends on what it may not know",
        run: edges::run,
    },
    Step {
        name: "unreached",
        about: "no .rs file that no target compiles",
        run: unreached::run,
    },
    Step {
        name: "fuzz",
        about: "random settings, names and histories break nothing",
        run: fuzz::step,
    },
    Step {
        name: "examples",
        about: "every example builds and runs, but for those that one watches",
        run: examples::run,
    },
    Step {
        name: "sim",
        about: "2,000 histories of fixed seeds and 500 of fresh ones keep to the model",
        run: sim::run,
    },
    Step {
        name: "outside",
        about: "a program outside this workspace works",
        run: outside::run,
    },
    Step {
        name: "chaos",
        about: "a few fleets end well, whatever happens to them",
        run: chaos::in_ci,
    },
    Step {
        name: "soak",
        about: "a short storm over two thousand services ends flat",
        run: soak::in_ci,
    },
    Step {
        name: "counts",
        about: "a restart, a spawn and a shutdown cost no more than they may",
        run: counts::run,
    },
    Step {
        name: "package",
        about: "every published crate can be packaged",
        run: package::run,
    },
];

/// Runs the steps until one fails, then says how long each took. `--skip-test` leaves the tests out, for
/// callers who have just run them.
pub(crate) fn run(workspace: &Workspace, args: &[String]) -> Result<()> {
    let mut skip_test = false;
    for arg in args {
        match arg.as_str() {
            "--skip-test" => skip_test = true,
            other => bail!("`ci` does not know `{other}`; it takes only --skip-test"),
        }
    }

    let mut done = Vec::new();
    for step in STEPS {
        if skip_test && step.name == "test" {
            continue;
        }
        println!("\n==> {}: {}", step.name, step.about);
        let begun = clock::now();
        let outcome = (step.run)(workspace);
        done.push((step.name, begun.elapsed(), outcome.is_ok()));
        if outcome.is_err() {
            println!("\n{}", table(&done));
        }
        outcome.with_context(|| format!("ci stopped at step `{}`", step.name))?;
    }
    println!("\n{}", table(&done));
    Ok(())
}

/// One line a step: its name, how long it took, how it ended; and the sum.
fn table(done: &[(&str, Duration, bool)]) -> String {
    let mut text = String::new();
    for (name, took, passed) in done {
        let verdict = if *passed { "ok" } else { "FAILED" };
        text.push_str(&format!(
            "  {name:<10} {:>7.1} s  {verdict}\n",
            took.as_secs_f64()
        ));
    }
    let all: Duration = done.iter().map(|(_, took, _)| *took).sum();
    text.push_str(&format!("  {:<10} {:>7.1} s", "all", all.as_secs_f64()));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_shows_each_step_and_the_sum() {
        let done = [
            ("fmt", Duration::from_millis(1_500), true),
            ("clippy", Duration::from_millis(20_000), false),
        ];
        assert_eq!(
            table(&done),
            "  fmt            1.5 s  ok\n  \
               clippy        20.0 s  FAILED\n  \
               all           21.5 s"
        );
    }
}
