//! What can be asked for on the command line.

use anyhow::{Context, Result, bail};
use std::str::FromStr;
use std::time::Duration;

/// How to use it.
const USAGE: &str = "soak [--for 10m] [--services 2000] [--ephemeral 1000000] [--seed N]";

/// How long, how large, and which storm.
#[derive(Debug)]
pub(crate) struct Args {
    /// How long the storm lasts.
    pub(crate) storm: Duration,
    /// How many services stay from its beginning to its end. Others come and go.
    pub(crate) services: usize,
    /// How many ephemeral services go through one supervisor before the storm.
    pub(crate) ephemeral: u64,
    /// Where randomness starts from. Threads race, so the same seed makes the same services, but not the same schedule.
    pub(crate) seed: u64,
}

impl Args {
    /// Reads the arguments after the program's name.
    pub(crate) fn read(mut words: impl Iterator<Item = String>) -> Result<Self> {
        let mut args = Self {
            storm: Duration::from_secs(600),
            services: 2_000,
            ephemeral: 1_000_000,
            seed: 1,
        };
        while let Some(word) = words.next() {
            let mut value = || words.next().with_context(|| format!("{word} what?"));
            match word.as_str() {
                "--for" => args.storm = humantime::parse_duration(&value()?)?,
                "--services" => args.services = number(&value()?)?,
                "--ephemeral" => args.ephemeral = number(&value()?)?,
                "--seed" => args.seed = number(&value()?)?,
                other => bail!("soak does not know `{other}`; usage: {USAGE}"),
            }
        }
        Ok(args)
    }
}

fn number<N: FromStr>(text: &str) -> Result<N> {
    match text.parse() {
        Ok(number) => Ok(number),
        Err(_) => bail!("not a number that fits here: `{text}`"),
    }
}
