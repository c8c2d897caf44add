//! `cargo xtask fuzz`: the fuzz targets of `tests/fuzz`, for as long as one likes.
//!
//! They need no tool and no nightly: bolero makes the inputs at random, and a failure names the seed that repeats it
//! (`BOLERO_RANDOM_SEED=.. cargo test --package janus-tests --test fuzz`).

use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::process;
use crate::workspace::Workspace;

/// How long the CI looks.
const IN_CI: Duration = Duration::from_secs(20);

/// The step of the CI.
pub(crate) fn step(workspace: &Workspace) -> Result<()> {
    fuzz(workspace, IN_CI)
}

/// Takes `--for 5m`; without it, as in the CI.
pub(crate) fn run(workspace: &Workspace, args: &[String]) -> Result<()> {
    fuzz(workspace, time_of(args)?)
}

fn time_of(args: &[String]) -> Result<Duration> {
    match args {
        [] => Ok(IN_CI),
        [flag, time] if flag == "--for" => {
            humantime::parse_duration(time).with_context(|| format!("`--for {time}` is no time"))
        }
        _ => bail!("`fuzz` takes only --for and a time, such as 5m"),
    }
}

/// Runs all targets at the same time, each for so long and with as many inputs as it can.
fn fuzz(workspace: &Workspace, time: Duration) -> Result<()> {
    let mut command = workspace.cargo(&["test", "--package", "janus-tests", "--test", "fuzz"]);
    command
        .args(["--", "--nocapture", "--test-threads=16"])
        .env("BOLERO_RANDOM_TEST_TIME_MS", time.as_millis().to_string())
        .env("BOLERO_RANDOM_ITERATIONS", usize::MAX.to_string());
    process::run(&mut command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_taken_as_people_write_it() {
        let time =
            |args: &[&str]| time_of(&args.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(time(&[]).unwrap(), IN_CI);
        assert_eq!(time(&["--for", "5m"]).unwrap(), Duration::from_secs(300));
        assert!(time(&["--for", "ever"]).is_err());
        assert!(time(&["--for"]).is_err());
        assert!(time(&["5m"]).is_err());
    }
}
