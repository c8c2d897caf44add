//! The fleet as a process of its own: a real client, real signals, exit codes.
#![cfg(unix)]
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "what a test cannot do without ends it"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// Longer than anything here takes, so that a fault ends in a message and not in a hang.
const LIMIT: Duration = Duration::from_secs(60);

/// Builds the fleet once, with the cargo and into the folder that this test comes from, and answers where it is.
fn fleet_program() -> &'static PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        // <target>/<profile>/deps/<this test>
        let test = std::env::current_exe().expect("the path of this test");
        let profile = test.ancestors().nth(2).expect("the folder of the profile");
        let target = profile.parent().expect("the target folder");
        let mut build = Command::new(env!("CARGO"));
        build.args([
            "build",
            "--quiet",
            "--package",
            "janus-tests",
            "--example",
            "fleet",
        ]);
        build.arg("--target-dir").arg(target);
        if profile.ends_with("release") {
            build.arg("--release");
        }
        let built = build.current_dir(env!("CARGO_MANIFEST_DIR")).status();
        assert!(built.expect("cargo runs").success(), "the fleet builds");
        profile.join("examples/fleet")
    })
}

/// A running fleet. Killed when dropped, so that a failing test leaves nothing behind.
struct Fleet {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Fleet {
    fn start(args: &[&str]) -> Self {
        let mut child = Command::new(fleet_program())
            .args(args)
            .env("RUST_LOG", "info")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("the fleet starts");
        let stdout = child.stdout.take().expect("a pipe from the fleet");
        Self {
            child,
            lines: lines_of(stdout),
            seen: Vec::new(),
        }
    }

    /// Reads on until a line contains `part`, and answers that line.
    fn line_with(&mut self, part: &str) -> String {
        loop {
            match self.lines.recv_timeout(LIMIT) {
                Ok(line) => {
                    self.seen.push(line.clone());
                    if line.contains(part) {
                        return line;
                    }
                }
                Err(why) => panic!(
                    "no line with {part:?} ({why}); so far:\n{}",
                    self.seen.join("\n")
                ),
            }
        }
    }

    /// The address of the key-value server, once everything runs.
    fn server(&mut self) -> SocketAddr {
        let line = self.line_with("kv listening on ");
        let address = line
            .split(' ')
            .nth(3)
            .and_then(|word| word.trim_end_matches(':').parse().ok());
        address.unwrap_or_else(|| panic!("no address in {line:?}"))
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("the fleet can be signalled");
    }

    /// Reads to the end, and answers the exit code and all that was printed.
    fn end(mut self) -> (Option<i32>, String) {
        while let Ok(line) = self.lines.recv_timeout(LIMIT) {
            self.seen.push(line);
        }
        let status = self.child.wait().expect("the fleet ends");
        (status.code(), self.seen.join("\n"))
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn lines_of(stdout: ChildStdout) -> Receiver<String> {
    let (send, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if send.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// A client that comes back, for as long as the limit allows.
struct Client(SocketAddr);

impl Client {
    /// Sends one request on a connection of its own until it is answered.
    fn ask(&self, request: &str) -> String {
        let mut last = None;
        // The server is down for less than a second after a crash; a refused connection returns at once.
        for _ in 0..600 {
            match self.try_ask(request) {
                Ok(answer) if !answer.is_empty() => return answer,
                Ok(_) => {}
                Err(error) => last = Some(error),
            }
            std::thread::park_timeout(Duration::from_millis(100));
        }
        panic!("no answer to {request:?}: {last:?}")
    }

    fn try_ask(&self, request: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(self.0)?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.write_all(format!("{request}\n").as_bytes())?;
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer)?;
        Ok(answer.trim_end().to_owned())
    }
}

#[test]
fn a_client_is_served_also_after_a_crash_and_sigterm_drains() {
    let mut fleet = Fleet::start(&["--calm"]);
    let client = Client(fleet.server());
    assert_eq!(client.ask("PING"), "PONG");
    assert_eq!(client.ask("SET fruit two red apples"), "OK");
    assert_eq!(client.ask("GET fruit"), "VALUE two red apples");
    assert_eq!(
        client.ask("FRY fruit"),
        "ERROR unknown request \"FRY fruit\""
    );

    // The connection is closed without an answer, the run fails, and the data is there when the server is back.
    let crash = client.try_ask("CRASH").unwrap_or_default();
    assert_eq!(crash, "");
    let failed = fleet.line_with("service failed service=\"kv\"");
    assert!(failed.contains("crashed by 127.0.0.1"), "{failed}");
    fleet.line_with("service failed service=\"consumer\"");
    assert_eq!(client.ask("GET fruit"), "VALUE two red apples");
    assert_eq!(client.ask("DEL fruit"), "OK");
    assert_eq!(client.ask("GET fruit"), "NONE");

    fleet.signal(Signal::TERM);
    let (code, printed) = fleet.end();
    let report = printed.lines().last().unwrap_or_default();
    assert!(report.starts_with("shutdown (SIGTERM): "), "{printed}");
    assert!(
        report.contains(" drained in ") && !report.contains("aborted"),
        "{printed}"
    );
    assert_eq!(code, Some(0), "{printed}");
}

#[test]
fn sigint_drains_as_well() {
    let mut fleet = Fleet::start(&["--calm"]);
    fleet.line_with("service running service=\"old-module\"");
    fleet.signal(Signal::INT);
    let (code, printed) = fleet.end();
    assert!(printed.contains("\nshutdown (SIGINT): "), "{printed}");
    assert_eq!(code, Some(0), "{printed}");
}

/// The grace is an hour: without the second signal this would not end.
#[test]
fn a_second_sigterm_ends_the_grace_of_a_service_that_never_stops() {
    let mut fleet = Fleet::start(&["--calm", "--stubborn", "--grace", "1h"]);
    fleet.line_with("service terminated service=\"migration\"");
    fleet.signal(Signal::TERM);
    // The others have stopped, the stubborn one has not.
    fleet.line_with("service terminated service=\"old-module\"");
    fleet.signal(Signal::TERM);
    fleet.line_with("second signal");
    let (code, printed) = fleet.end();
    let report = printed.lines().last().unwrap_or_default();
    assert!(
        report.contains(" drained, aborted: stubborn in "),
        "{printed}"
    );
    assert_eq!(code, Some(1), "{printed}");
}

#[test]
fn json_is_one_document_whose_numbers_add_up() {
    let output = Command::new(fleet_program())
        .args(["--for", "2s", "--json"])
        .stdin(Stdio::null())
        .output()
        .expect("the fleet runs");
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let snapshot = &document["snapshot"];
    let services = snapshot["services"].as_array().unwrap();
    let names: Vec<&str> = services
        .iter()
        .filter_map(|service| service["service_name"].as_str())
        .collect();
    assert_eq!(
        names,
        [
            "metrics",
            "migration",
            "kv",
            "consumer",
            "gremlin",
            "feed",
            "report",
            "dead-link",
            "old-module"
        ]
    );
    let metrics = &snapshot["metrics"];
    assert_eq!(metrics["spawned_total"], 9);
    assert_eq!(metrics["terminated_total"], 9);
    assert_eq!(metrics["active_services"], 0);
    let starts: u64 = services
        .iter()
        .filter_map(|service| service["start_count"].as_u64())
        .sum();
    assert_eq!(metrics["restarts_total"], starts - 9);
    assert!(starts > 9, "the feed fails after less than a second");
    assert_eq!(services[1]["termination_reason"], "completed");
    assert_eq!(document["report"]["cause"], "requested");
    assert_eq!(
        document["report"]["drain"]["aborted"],
        serde_json::json!([])
    );
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn the_metrics_are_served_over_http() {
    let mut fleet = Fleet::start(&["--calm"]);
    let line = fleet.line_with("metrics on http://");
    let address: SocketAddr = line
        .trim_start_matches("metrics on http://")
        .trim_end_matches("/metrics")
        .parse()
        .unwrap();
    fleet.line_with("service terminated service=\"migration\"");
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let request = "GET /metrics HTTP/1.1\r\nHost: fleet\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    for part in [
        "HTTP/1.1 200 OK\r\n",
        "content-type: text/plain; version=0.0.4; charset=utf-8\r\n",
        "janus_supervisor_service_phase{phase=\"running\",service=\"kv\"} 1\n",
        "janus_supervisor_terminated_total{reason=\"completed\",service=\"migration\"} 1\n",
        "janus_supervisor_failures_total{kind=\"panic\",service=\"kv\"} 0\n",
    ] {
        assert!(answer.contains(part), "{part:?} is not in:\n{answer}");
    }
    fleet.signal(Signal::TERM);
    assert_eq!(fleet.end().0, Some(0));
}

/// Without this, a hang of the fleet would show as a test that never ends.
#[test]
fn the_helper_of_these_tests_kills_what_it_started() {
    let mut fleet = Fleet::start(&["--calm", "--stubborn", "--grace", "1h"]);
    let server = fleet.server();
    assert_eq!(Client(server).ask("PING"), "PONG");
    drop(fleet);
    let gone = TcpStream::connect(server).map(|mut stream| stream.read(&mut [0]));
    assert!(!matches!(gone, Ok(Ok(1..))), "{gone:?}");
}
