//! The project's own chores, one command each and one file each: `cargo xtask <chore>`.
//!
//! `cargo xtask ci` is the whole CI, and runs locally. Every step of it is a chore too, so that what went
//! red can be run again alone: `cargo xtask edges`.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a chore talks to the person who runs it"
)]

mod bench;
mod chaos;
mod ci;
mod clippy;
mod clock;
mod counts;
mod demo;
mod doc;
mod edges;
mod examples;
mod fmt;
mod fuzz;
mod miri;
mod mutants;
mod outside;
mod package;
mod process;
mod sim;
mod soak;
mod test;
mod unreached;
mod workspace;

use std::env;
use std::process::ExitCode;

use anyhow::{Result, bail, ensure};

use crate::ci::STEPS;
use crate::workspace::Workspace;

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    match dispatch(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the chore that the first argument names, with the arguments after it.
fn dispatch(args: &[String]) -> Result<()> {
    let Some((chore, rest)) = args.split_first() else {
        bail!("which chore?\n\n{}", usage());
    };
    match chore.as_str() {
        "help" | "--help" | "-h" => println!("{}", usage()),
        "ci" => ci::run(&Workspace::read()?, rest)?,
        "bench" => bench::run(&Workspace::read()?, rest)?,
        "chaos" => chaos::run(&Workspace::read()?, rest)?,
        "demo" => demo::run(&Workspace::read()?, rest)?,
        "soak" => soak::run(&Workspace::read()?, rest)?,
        "sim" => sim::run_with(&Workspace::read()?, rest)?,
        "fuzz" => fuzz::run(&Workspace::read()?, rest)?,
        "miri" => miri::run(&Workspace::read()?, rest)?,
        "mutants" => mutants::run(&Workspace::read()?, rest)?,
        name => {
            let Some(step) = STEPS.iter().find(|step| step.name == name) else {
                bail!("there is no chore `{name}`\n\n{}", usage());
            };
            ensure!(rest.is_empty(), "`{name}` takes no arguments");
            (step.run)(&Workspace::read()?)?;
        }
    }
    Ok(())
}

/// What can be asked for, the steps of the CI in their order.
fn usage() -> String {
    let mut text = String::from(
        "usage: cargo xtask <chore>\n\n  \
         ci [--skip-test]   every step below, in this order, until one fails\n  \
         bench [--rounds 3] [--only WORD]\n                     \
                            Janus and its peers, measured side by side\n  \
         demo [args]        run the example `fleet`, with the arguments passed on\n  \
         chaos [--runs 200] [--seed N]\n                     \
                            the example `fleet` as a process, paused and ended at any moment\n  \
         soak [--for 10m] [--services N] [--ephemeral N] [--seed N]\n                     \
                            thousands of services under a storm\n  \
         sim [--seeds N] [--from S] [--fresh N]\n                     \
                            other histories than the step `sim` lives through\n  \
         fuzz [--for 5m]    the fuzz targets, for so long\n  \
         miri               the tests that Miri can run; needs a nightly toolchain that has it\n  \
         mutants [file.rs]  breaks what decides, and sees whether a test notices; takes long\n\n\
         steps of the ci, each a chore of its own:\n",
    );
    for step in STEPS {
        text.push_str(&format!("  {:<10} {}\n", step.name, step.about));
    }
    text
}
