//! Other programs: started with what they are shown first, and believed only when they exit with 0.

use std::env;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::clock;

/// How often a program with a time limit is asked whether it has ended.
const POLL: Duration = Duration::from_millis(20);

/// The cargo that runs this chore, so that a toolchain chosen on the command line (`cargo +nightly xtask`)
/// holds for what the chore starts, too.
pub(crate) fn cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Takes away what makes some errors bring a stack trace along, which is then what is measured.
pub(crate) fn without_backtraces(command: &mut Command) -> &mut Command {
    command
        .env_remove("RUST_BACKTRACE")
        .env_remove("RUST_LIB_BACKTRACE")
}

/// Runs `command` to its end, its output passed through.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let shown = announce(command);
    let status = command
        .status()
        .with_context(|| format!("cannot start `{shown}`"))?;
    ensure!(status.success(), "`{shown}`: {status}");
    Ok(())
}

/// Runs `command` to its end and returns what it wrote to stdout; stderr is passed through.
pub(crate) fn stdout_of(command: &mut Command) -> Result<String> {
    let shown = announce(command);
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start `{shown}`"))?;
    ensure!(output.status.success(), "`{shown}`: {}", output.status);
    String::from_utf8(output.stdout).with_context(|| format!("`{shown}` wrote no UTF-8"))
}

/// Runs `command` without input, its output passed through, and kills it when `limit` has passed.
///
/// Only the program itself is killed, not what it may have started.
pub(crate) fn run_within(command: &mut Command, limit: Duration) -> Result<()> {
    let shown = announce(command);
    let mut child = command
        .stdin(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot start `{shown}`"))?;
    let begun = clock::now();
    loop {
        if let Some(status) = child.try_wait()? {
            ensure!(status.success(), "`{shown}`: {status}");
            return Ok(());
        }
        if begun.elapsed() >= limit {
            child
                .kill()
                .with_context(|| format!("cannot kill `{shown}`"))?;
            child.wait()?;
            bail!("`{shown}` did not end within {limit:?}");
        }
        clock::pause(POLL);
    }
}

/// Prints the command line as one would type it, and returns it for messages.
pub(crate) fn announce(command: &Command) -> String {
    let mut shown = Path::new(command.get_program())
        .file_name()
        .unwrap_or(command.get_program())
        .to_string_lossy()
        .into_owned();
    for arg in command.get_args() {
        shown.push(' ');
        shown.push_str(&arg.to_string_lossy());
    }
    println!("$ {shown}");
    shown
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn sh(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn exit_status_other_than_zero_is_an_error() {
        let error = run(&mut sh("exit 3")).unwrap_err().to_string();
        assert!(error.contains("sh -c exit 3"), "{error}");
        assert!(error.contains('3'), "{error}");
        assert!(run(&mut sh("exit 0")).is_ok());
    }

    #[test]
    fn stdout_is_returned() {
        assert_eq!(stdout_of(&mut sh("echo seen")).unwrap(), "seen\n");
        assert!(stdout_of(&mut sh("echo seen; exit 1")).is_err());
    }

    #[test]
    fn program_is_killed_at_its_limit() {
        let error = run_within(&mut sh("exec sleep 600"), Duration::from_millis(50))
            .unwrap_err()
            .to_string();
        assert!(error.ends_with("did not end within 50ms"), "{error}");
    }

    #[test]
    fn program_inside_its_limit_is_judged_by_its_status() {
        let limit = Duration::from_secs(60);
        assert!(run_within(&mut sh("exit 0"), limit).is_ok());
        assert!(run_within(&mut sh("exit 1"), limit).is_err());
    }
}
