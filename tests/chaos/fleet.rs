//! A fleet as a process of its own.

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process, test_kill_process_group};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

/// What the fleet has printed.
#[derive(Debug, Default)]
pub(crate) struct Printed {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Printed {
    /// Whether a line contains this, wherever it was printed.
    pub(crate) fn has(&self, part: &str) -> bool {
        self.stdout.contains(part) || self.stderr.contains(part)
    }
}

/// Where a line was printed.
enum Line {
    Stdout(String),
    Stderr(String),
}

/// A running fleet, in a process group of its own. Killed when dropped, whatever it is at.
pub(crate) struct Fleet {
    child: Child,
    pid: Pid,
    lines: Receiver<Line>,
    pub(crate) printed: Printed,
}

impl Fleet {
    pub(crate) fn start(program: &Path, args: &[String]) -> Result<Self> {
        let mut child = Command::new(program)
            .args(args)
            .env("RUST_LOG", "info")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let (send, lines) = mpsc::channel();
        let stdout = child.stdout.take().context("a pipe from stdout")?;
        let stderr = child.stderr.take().context("a pipe from stderr")?;
        forward(stdout, send.clone(), Line::Stdout);
        forward(stderr, send, Line::Stderr);
        Ok(Self {
            pid: Pid::from_child(&child),
            child,
            lines,
            printed: Printed::default(),
        })
    }

    /// Sends it a signal. It is ours until it has been waited for, so the number is nobody else's.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill_process(self.pid, signal)?)
    }

    /// Reads for so long, or until a line comes. False when both pipes are closed.
    pub(crate) fn read(&mut self, time: Duration) -> bool {
        match self.lines.recv_timeout(time) {
            Ok(Line::Stdout(line)) => self.printed.stdout += &(line + "\n"),
            Ok(Line::Stderr(line)) => self.printed.stderr += &(line + "\n"),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return false,
        }
        true
    }

    /// How it has ended, if it has.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Whether anybody is left in its process group, once it has ended itself.
    pub(crate) fn has_orphans(&self) -> bool {
        test_kill_process_group(self.pid).is_ok()
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn forward(pipe: impl Read + Send + 'static, lines: Sender<Line>, line: fn(String) -> Line) {
    thread::spawn(move || {
        for text in BufReader::new(pipe).lines().map_while(Result::ok) {
            if lines.send(line(text)).is_err() {
                return;
            }
        }
    });
}
