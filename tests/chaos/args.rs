//! What can be asked for on the command line.

use anyhow::{Context, Result, bail};
use std::path::PathBuf;

/// How to use it.
const USAGE: &str = "chaos --fleet PATH [--runs 200] [--seed N] [--at-once 4]";

/// Which program, how often, and with which dice.
#[derive(Debug)]
pub(crate) struct Args {
    /// The example `fleet`, built.
    pub(crate) fleet: PathBuf,
    /// How many fleets are started and ended.
    pub(crate) runs: u64,
    /// The plan of the first run; the next has the next seed. So one that failed is planned again by `--runs 1 --seed
    /// N`.
    pub(crate) seed: Option<u64>,
    /// How many fleets there are at one time: they wait more than they work.
    pub(crate) at_once: u64,
}

impl Args {
    /// Reads the arguments after the program's name.
    pub(crate) fn read(mut words: impl Iterator<Item = String>) -> Result<Self> {
        let (mut fleet, mut runs, mut seed, mut at_once) = (None, 200, None, 4);
        while let Some(word) = words.next() {
            let mut value = || words.next().with_context(|| format!("{word} what?"));
            match word.as_str() {
                "--fleet" => fleet = Some(PathBuf::from(value()?)),
                "--runs" => runs = number(&value()?)?,
                "--seed" => seed = Some(number(&value()?)?),
                "--at-once" => at_once = number(&value()?)?,
                other => bail!("chaos does not know `{other}`; usage: {USAGE}"),
            }
        }
        let fleet = fleet.with_context(|| format!("which fleet? usage: {USAGE}"))?;
        Ok(Self {
            fleet,
            runs,
            seed,
            at_once: at_once.max(1),
        })
    }
}

fn number(text: &str) -> Result<u64> {
    text.parse()
        .with_context(|| format!("not a number: `{text}`"))
}
