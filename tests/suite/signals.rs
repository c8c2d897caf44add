//! Signals belong to the whole process, so each test starts this very binary again, and it is that process which is
//! signalled. F73, F74.
#![cfg(unix)]

mod child;

use futures_util::FutureExt;
use janus_supervisor::{JanusSupervisor, ServicePhase, SupervisorConfig, SupervisorError};
use janus_tests::{Recorder, Script, config, ms, secs};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, mpsc};

/// What tells the process that it is the child, and which part it plays.
const CASE: &str = "JANUS_TEST_SIGNALS";

/// Before what the child has to say, among what the test harness says.
const MARK: &str = ">> ";

/// The other process, and what it says. Killed with the test.
struct Child {
    process: std::process::Child,
    stdin: ChildStdin,
    said: mpsc::Receiver<String>,
}

#[expect(clippy::unwrap_used, reason = "part of a test")]
impl Child {
    /// Starts this binary again, to run [`child::play`] alone.
    fn start(case: &str) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "signals::child::play", "--nocapture"])
            .env(CASE, case)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let stdin = process.stdin.take().unwrap();
        let stdout = BufReader::new(process.stdout.take().unwrap());
        let (tell, said) = mpsc::channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if let Some(line) = line.strip_prefix(MARK) {
                    // Whoever listened may have failed in between.
                    let _heard = tell.send(line.to_owned());
                }
            }
        });
        Self {
            process,
            stdin,
            said,
        }
    }

    /// The next thing that it says; nothing when it has ended.
    fn says(&self) -> Option<String> {
        match self.said.recv_timeout(secs(60)) {
            Ok(line) => Some(line),
            Err(mpsc::RecvTimeoutError::Disconnected) => None,
            Err(mpsc::RecvTimeoutError::Timeout) => Some("(nothing for a minute)".to_owned()),
        }
    }

    fn expect(&self, line: &str) {
        assert_eq!(self.says().as_deref(), Some(line));
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }

    /// Signals it again and again. Answers what it says then.
    fn signalled_until_it_speaks(&self, signal: Signal) -> Option<String> {
        for _ in 0..600 {
            self.signal(signal);
            match self.said.recv_timeout(ms(100)) {
                Ok(line) => return Some(line),
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => return None,
            }
        }
        None
    }

    /// Lets it go on, where it waits for that.
    fn go_on(&mut self) {
        self.stdin.write_all(b"\n").unwrap();
    }

    /// How it ended.
    fn end(mut self) -> ExitStatus {
        assert_eq!(self.says(), None);
        self.process.wait().unwrap()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // It may have ended long ago.
        let _gone = self.process.kill();
        let _reaped = self.process.wait();
    }
}

#[test]
fn sigterm_begins_the_drain() {
    let child = Child::start("drain");
    child.expect("ready");
    child.signal(Signal::TERM);
    child.expect("stopping");
    child.expect("cause SIGTERM, drained 1, aborted [], exit code 0");
    assert!(child.end().success());
}

#[test]
fn sigint_begins_the_drain() {
    let child = Child::start("drain");
    child.expect("ready");
    child.signal(Signal::INT);
    child.expect("stopping");
    child.expect("cause SIGINT, drained 1, aborted [], exit code 0");
    assert!(child.end().success());
}

/// The grace is an hour; the second signal, of either kind, ends it at once. What began the shutdown is still the
/// first.
#[test]
fn a_second_signal_ends_the_grace() {
    for (first, second, cause) in [
        (Signal::TERM, Signal::TERM, "SIGTERM"),
        (Signal::INT, Signal::INT, "SIGINT"),
        (Signal::TERM, Signal::INT, "SIGTERM"),
        (Signal::INT, Signal::TERM, "SIGINT"),
    ] {
        let child = Child::start("stubborn");
        child.expect("ready");
        child.signal(first);
        child.expect("stopping");
        child.signal(second);
        let report = format!("cause {cause}, drained 0, aborted [\"stubborn\"], exit code 1");
        child.expect(&report);
        assert!(child.end().success());
    }
}

/// The program had begun the shutdown by itself, and whoever sends the first signal does not know: it changes nothing.
/// The next one ends the grace.
#[test]
fn the_first_signal_ends_no_grace_even_in_a_shutdown_that_the_program_began() {
    for (again, report) in [
        (false, "cause requested, drained 1, aborted [], exit code 0"),
        (
            true,
            "cause requested, drained 0, aborted [\"leaving\"], exit code 1",
        ),
    ] {
        let mut child = Child::start("requested");
        child.expect("ready");
        child.go_on();
        child.expect("stopping");
        child.signal(Signal::TERM);
        child.expect("heard");
        if again {
            // Two signals that come together may look like one.
            let said = child.signalled_until_it_speaks(Signal::TERM);
            assert_eq!(said.as_deref(), Some(report));
            child.go_on();
        } else {
            child.go_on();
            child.expect(report);
        }
        assert!(child.end().success());
    }
}

/// F74: the supervisor is made, and nobody waits for its shutdown yet.
#[test]
fn a_signal_before_anybody_waits_is_not_lost() {
    for case in ["early", "early, without a service", "early, on one thread"] {
        let mut child = Child::start(case);
        child.expect("made");
        child.signal(Signal::TERM);
        child.go_on();
        child.expect("cause SIGTERM, drained 0, aborted [], exit code 0");
        assert!(child.end().success());
    }
}

/// F74: a supervisor that was made outside a runtime listens from its first service on.
#[test]
fn a_supervisor_made_outside_a_runtime_listens_from_its_first_service_on() {
    let mut child = Child::start("outside");
    child.expect("made");
    child.signal(Signal::TERM);
    child.go_on();
    child.expect("cause SIGTERM, drained 1, aborted [], exit code 0");
    assert!(child.end().success());
}

/// F73: whoever does not want the handlers has the process that he had before.
#[test]
fn without_the_handlers_a_signal_does_what_it_always_did() {
    let child = Child::start("without handlers");
    child.expect("ready");
    child.signal(Signal::TERM);
    assert_eq!(child.end().signal(), Some(Signal::TERM.as_raw()));
}

/// Two in one process: the signal is for both.
#[test]
fn every_supervisor_of_the_process_hears_the_signal() {
    let child = Child::start("two");
    child.expect("ready");
    child.signal(Signal::TERM);
    for _ in 0..2 {
        child.expect("cause SIGTERM, drained 1, aborted [], exit code 0");
    }
    assert!(child.end().success());
}

/// F73: a runtime without its I/O driver has no signals. Whoever needs them is told; the services are not touched.
#[test]
fn handlers_that_cannot_be_installed_are_an_error_and_no_shutdown() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        let supervisor = JanusSupervisor::new(SupervisorConfig::default());
        let service = supervisor.spawn_service(Script::new("one", [])).unwrap();
        tokio::task::yield_now().await;
        for _ in 0..2 {
            let run = tokio::time::timeout(secs(60), supervisor.run_until_shutdown());
            let error = run.await.unwrap().unwrap_err();
            let SupervisorError::SignalHandler { source } = &error else {
                panic!("{error:?}");
            };
            assert_eq!(
                error.to_string(),
                format!("cannot install the handlers for termination signals: {source}")
            );
            assert!(!source.to_string().is_empty());
        }
        assert!(!supervisor.is_shutting_down());
        assert_eq!(service.phase(), ServicePhase::Running);
        supervisor.trigger_shutdown();
        assert!(supervisor.wait_for_drain().await.is_clean());
    });
}

/// Whether there are any is tried once, and not at every spawn: tokio panics where there are none, and the panic hook
/// speaks of it.
#[test]
fn handlers_that_cannot_be_installed_are_not_tried_again_and_again() {
    let child = Child::start("without an I/O driver");
    child.expect("1 panics");
    child.expect("ready");
    child.signal(Signal::TERM);
    child.expect("cause SIGTERM, drained 1, aborted [], exit code 0");
    assert!(child.end().success());
}

/// Those who hear of signals go with their runtime, but whoever waits for a shutdown has one of their own.
#[test]
fn whoever_waits_hears_the_signal_when_the_runtime_of_the_first_service_has_gone() {
    let child = Child::start("the first runtime has gone");
    child.expect("ready");
    child.signal(Signal::TERM);
    child.expect("cause SIGTERM, drained 1, aborted [], exit code 0");
    assert!(child.end().success());
}

/// Whoever spawns has somebody listen for signals, also where the runtime of the service itself has been known for
/// long.
#[test]
fn the_signal_is_heard_where_services_are_spawned_from() {
    let child = Child::start("spawned from elsewhere");
    child.expect("ready");
    child.signal(Signal::TERM);
    child.expect("2 drained in time");
    assert!(child.end().success());
}

/// Nor are there any where there is no runtime.
#[test]
fn outside_a_runtime_whoever_waits_for_signals_is_told() {
    let supervisor = JanusSupervisor::new(SupervisorConfig::default());
    let error = supervisor.run_until_shutdown().now_or_never().unwrap();
    let error = error.unwrap_err().to_string();
    let wanted = "cannot install the handlers for termination signals: not inside a tokio runtime";
    assert_eq!(error, wanted);
    assert!(!supervisor.is_shutting_down());
}

/// And whoever does not need them needs no I/O driver either.
#[test]
fn without_the_handlers_no_io_driver_is_needed() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let recorder = Arc::new(Recorder::default());
    runtime.block_on(async {
        let supervisor = JanusSupervisor::new(config(&recorder));
        supervisor.spawn_service(Script::new("one", [])).unwrap();
        supervisor.trigger_shutdown();
        let report = supervisor.run_until_shutdown().await.unwrap();
        assert_eq!(report.exit_code(), 0);
    });
}
