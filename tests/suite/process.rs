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
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tokio::time::Instant;

/// Longer than any fleet lives here, so that a fault ends in a message and not in a hang. It counts from the start of
/// the fleet: one that ignores every signal goes on printing, so a limit on the wait for a line would never be reached.
const LIMIT: Duration = Duration::from_secs(30);

/// Builds the fleet once, with the cargo and into the folder that this test comes from, and answers where it is.
fn fleet_program() -> &'static PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        // <target>/<profile>/deps/<this test>
        let test = std::env::current_exe().expect("the path of this test");
        let folder = test.ancestors().nth(2).expect("the folder of the profile");
        let target = folder.parent().expect("the target folder");
        let profile = match folder.file_name().and_then(|name| name.to_str()) {
            // The one profile whose folder has another name.
            Some("debug") => "dev",
            profile => profile.expect("the name of the profile"),
        };
        let mut build = Command::new(env!("CARGO"));
        build.args([
            "build",
            "--quiet",
            "--package",
            "janus-tests",
            "--example",
            "fleet",
            "--profile",
            profile,
        ]);
        build.arg("--target-dir").arg(target);
        let built = build.current_dir(env!("CARGO_MANIFEST_DIR")).status();
        assert!(built.expect("cargo runs").success(), "the fleet builds");
        folder.join("examples/fleet")
    })
}

/// Where a line was printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum To {
    Stdout,
    Stderr,
}

/// A running fleet. Killed when dropped, so that a failing test leaves nothing behind.
struct Fleet {
    child: Child,
    deadline: Instant,
    lines: Receiver<(To, String)>,
    seen: Vec<(To, String)>,
}

/// A fleet that has ended, and what it printed.
struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Fleet {
    fn start(args: &[&str]) -> Self {
        let mut child = Command::new(fleet_program())
            .args(args)
            .env("RUST_LOG", "info")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the fleet starts");
        let (send, lines) = mpsc::channel();
        let stdout = child.stdout.take().expect("a pipe from stdout");
        let stderr = child.stderr.take().expect("a pipe from stderr");
        forward(To::Stdout, stdout, send.clone());
        forward(To::Stderr, stderr, send);
        Self {
            child,
            deadline: Instant::now() + LIMIT,
            lines,
            seen: Vec::new(),
        }
    }

    /// Types a line.
    fn type_line(&mut self, line: &str) {
        let stdin = self.child.stdin.as_mut().expect("a pipe to stdin");
        writeln!(stdin, "{line}").expect("it reads");
    }

    /// Waits until a line that contains `part` has been printed, and answers it. Whether other lines came before or
    /// after it does not matter: services log on several threads.
    fn line_with(&mut self, part: &str) -> String {
        let mut looked_at = 0;
        loop {
            let new = &self.seen[looked_at..];
            if let Some((_, line)) = new.iter().find(|(_, line)| line.contains(part)) {
                return line.clone();
            }
            looked_at = self.seen.len();
            assert!(
                self.read_line(),
                "it ended without a line with {part:?}: {}",
                self.all()
            );
        }
    }

    /// Reads one more line; false when there is none any more.
    fn read_line(&mut self) -> bool {
        let left = self.deadline.saturating_duration_since(Instant::now());
        match self.lines.recv_timeout(left) {
            Ok(line) => self.seen.push(line),
            Err(mpsc::RecvTimeoutError::Disconnected) => return false,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                panic!("nothing to wait for after {LIMIT:?}: {}", self.all())
            }
        }
        true
    }

    /// Everything printed so far, for the message of a failing test.
    fn all(&self) -> String {
        let lines = self.seen.iter();
        lines
            .map(|(to, line)| format!("\n{to:?}: {line}"))
            .collect()
    }

    /// The address of the key-value server.
    fn server(&mut self) -> SocketAddr {
        let line = self.line_with("kv listening on ");
        let address = line
            .split(' ')
            .nth(3)
            .and_then(|word| word.trim_end_matches(':').parse().ok());
        address.unwrap_or_else(|| panic!("no address in {line:?}"))
    }

    /// The address of the metrics.
    fn metrics(&mut self) -> SocketAddr {
        let line = self.line_with("metrics on http://");
        let address = line
            .trim_start_matches("metrics on http://")
            .trim_end_matches("/metrics");
        let address = address.parse();
        address.unwrap_or_else(|error| panic!("{error} in {line:?}"))
    }

    /// Reads the metrics until they contain `part`: an event is logged before it is counted.
    fn metrics_with(&mut self, address: SocketAddr, part: &str) -> String {
        loop {
            let answer = scrape(address);
            if answer.contains(part) {
                return answer;
            }
            assert!(self.is_running(), "it ended: {}", self.all());
            assert!(
                Instant::now() < self.deadline,
                "{part:?} is not in:\n{answer}"
            );
            std::thread::park_timeout(Duration::from_millis(50));
        }
    }

    /// Closes its stdout and stderr, at the latest after one more line each.
    fn stop_reading(&mut self) {
        self.lines = mpsc::channel().1;
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("the fleet can be signalled");
    }

    fn is_running(&mut self) -> bool {
        let status = self.child.try_wait().expect("the fleet can be asked");
        status.is_none()
    }

    /// Reads to the end.
    fn end(mut self) -> Ended {
        while self.read_line() {}
        // Both pipes are closed, so it ends now, if it ever does.
        while self.is_running() {
            assert!(
                Instant::now() < self.deadline,
                "it does not end: {}",
                self.all()
            );
            std::thread::park_timeout(Duration::from_millis(5));
        }
        let status = self.child.wait().expect("the fleet has ended");
        Ended {
            code: status.code(),
            stdout: self.printed(To::Stdout),
            stderr: self.printed(To::Stderr),
        }
    }

    fn printed(&self, where_to: To) -> String {
        let lines = self.seen.iter().filter(|(to, _)| *to == where_to);
        lines.map(|(_, line)| format!("{line}\n")).collect()
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn forward(to: To, pipe: impl Read + Send + 'static, lines: Sender<(To, String)>) {
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            if lines.send((to, line)).is_err() {
                return;
            }
        }
    });
}

/// A client that comes back, for as long as the limit allows.
struct Client(SocketAddr);

impl Client {
    /// Sends one request on a connection of its own until it is answered.
    fn ask(&self, request: &str) -> String {
        let deadline = Instant::now() + LIMIT;
        loop {
            // The server is down for less than a second after a crash; a refused connection returns at once.
            let answer = self.try_ask(request);
            match answer {
                Ok(answer) if !answer.is_empty() => return answer,
                _ if Instant::now() < deadline => {}
                answer => panic!("no answer to {request:?}: {answer:?}"),
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
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

fn scrape(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).expect("the metrics are served");
    stream.set_read_timeout(Some(LIMIT)).expect("a time limit");
    let request = "GET /metrics HTTP/1.1\r\nHost: fleet\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

#[test]
fn a_client_is_served_also_after_a_crash_and_sigterm_drains() {
    let mut fleet = Fleet::start(&["--calm"]);
    let client = Client(fleet.server());
    // Spawned after the server, and may be slower than a client of it.
    fleet.line_with("service running service=\"consumer\"");
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
    // The consumer fails with it. Which of the two says so first is open: each has a task of its own.
    let failed = fleet.line_with("service failed service=\"kv\"");
    assert!(failed.contains("crashed by 127.0.0.1"), "{failed}");
    fleet.line_with("service failed service=\"consumer\"");
    assert_eq!(client.ask("GET fruit"), "VALUE two red apples");
    assert_eq!(client.ask("DEL fruit"), "OK");
    assert_eq!(client.ask("GET fruit"), "NONE");

    fleet.signal(Signal::TERM);
    let Ended { code, stdout, .. } = fleet.end();
    let report = stdout.lines().last().unwrap_or_default();
    assert!(report.starts_with("shutdown (SIGTERM): "), "{stdout}");
    assert!(
        report.contains(" drained in ") && !report.contains("aborted"),
        "{stdout}"
    );
    assert_eq!(code, Some(0), "{stdout}");
}

/// A connection that asks for nothing, and one with half a request, must not hold up the server's end.
#[test]
fn open_connections_do_not_hold_up_the_drain() {
    let mut fleet = Fleet::start(&["--calm", "--grace", "1h"]);
    let server = fleet.server();
    let mut idle = TcpStream::connect(server).unwrap();
    let mut half = TcpStream::connect(server).unwrap();
    half.write_all(b"GET fru").unwrap();
    // Connections are accepted in order, so these two were.
    assert_eq!(Client(server).ask("PING"), "PONG");
    fleet.signal(Signal::TERM);
    let Ended { code, stdout, .. } = fleet.end();
    assert_eq!(code, Some(0), "{stdout}");
    for stream in [&mut idle, &mut half] {
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        let end = stream.read(&mut [0]).map_err(|error| error.kind());
        assert!(
            matches!(end, Ok(0) | Err(std::io::ErrorKind::ConnectionReset)),
            "{end:?}"
        );
    }
}

#[test]
fn too_long_a_line_is_not_kept() {
    let mut fleet = Fleet::start(&["--calm"]);
    let server = fleet.server();
    let mut stream = TcpStream::connect(server).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    // The connection may be closed before the last of it is sent.
    stream.write_all(&[b'x'; 64 * 1024]).ok();
    let mut answer = Vec::new();
    let end = stream
        .read_to_end(&mut answer)
        .map_err(|error| error.kind());
    assert!(
        matches!(end, Ok(0) | Err(std::io::ErrorKind::ConnectionReset)),
        "{end:?}"
    );
    assert_eq!(Client(server).ask("PING"), "PONG");
}

#[test]
fn sigint_drains_as_well() {
    let mut fleet = Fleet::start(&["--calm"]);
    fleet.line_with("service running service=\"old-module\"");
    fleet.signal(Signal::INT);
    let Ended { code, stdout, .. } = fleet.end();
    assert!(stdout.contains("\nshutdown (SIGINT): "), "{stdout}");
    assert_eq!(code, Some(0), "{stdout}");
}

/// While services are still being spawned, too: those that are there drain, and the others are not missed.
#[test]
fn a_signal_during_the_start_drains_as_well() {
    for _ in 0..10 {
        let mut fleet = Fleet::start(&[]);
        fleet.server();
        fleet.signal(Signal::TERM);
        let Ended {
            code,
            stdout,
            stderr,
        } = fleet.end();
        assert!(
            stdout.contains("\nshutdown (SIGTERM): "),
            "{stdout}{stderr}"
        );
        assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
    }
}

/// The grace is an hour: without the second signal this would not end.
#[test]
fn a_second_sigterm_ends_the_grace_of_a_service_that_never_stops() {
    let mut fleet = Fleet::start(&["--calm", "--stubborn", "--grace", "1h"]);
    fleet.line_with("service terminated service=\"migration\"");
    fleet.signal(Signal::TERM);
    // The others have stopped, the stubborn one has not.
    fleet.line_with("service terminated service=\"old-module\"");
    fleet.line_with("service terminated service=\"kv\"");
    assert!(fleet.is_running());
    fleet.signal(Signal::TERM);
    fleet.line_with("second signal");
    let Ended { code, stdout, .. } = fleet.end();
    let report = stdout.lines().last().unwrap_or_default();
    assert!(report.starts_with("shutdown (SIGTERM): "), "{stdout}");
    // One that was in the middle of an attempt may be among them.
    let aborted = report.split(" drained, aborted: ").nth(1);
    let aborted = aborted.and_then(|rest| rest.split(" in ").next());
    let mut aborted = aborted.unwrap_or_default().split(' ');
    assert!(aborted.any(|name| name == "stubborn"), "{stdout}");
    assert_eq!(code, Some(1), "{stdout}");
}

/// Without a second signal, the grace ends by itself.
#[test]
fn a_service_that_never_stops_is_aborted_when_the_grace_is_over() {
    let args = ["--calm", "--stubborn", "--for", "1s", "--grace", "300ms"];
    let Ended { code, stdout, .. } = Fleet::start(&args).end();
    let report = stdout.lines().last().unwrap_or_default();
    assert!(report.starts_with("shutdown (requested): "), "{stdout}");
    assert!(
        report.contains(" drained, aborted: stubborn in "),
        "{stdout}"
    );
    assert_eq!(code, Some(1), "{stdout}");
}

#[test]
fn json_is_one_document_whose_numbers_add_up() {
    let ended = Fleet::start(&["--for", "1s", "--json", "--seed", "1"]).end();
    // All of stdout is that document; what else there is to say goes to stderr.
    let document: serde_json::Value = serde_json::from_str(&ended.stdout)
        .unwrap_or_else(|error| panic!("{error} in:\n{}", ended.stdout));
    assert!(
        ended.stderr.starts_with("kv listening on 127.0.0.1:"),
        "{}",
        ended.stderr
    );
    assert!(
        ended.stderr.contains("service running service=\"kv\""),
        "{}",
        ended.stderr
    );
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
            "old-module",
            "index",
            "worker",
            "exchange",
            "ingest",
            "ingest/reader",
            "ingest/parser"
        ]
    );
    let metrics = &snapshot["metrics"];
    assert_eq!(metrics["spawned_total"], 15);
    assert_eq!(metrics["terminated_total"], 15);
    assert_eq!(metrics["active_services"], 0);
    let starts: u64 = services
        .iter()
        .filter_map(|service| service["start_count"].as_u64())
        .sum();
    assert_eq!(metrics["restarts_total"], starts - 15);
    assert!(starts > 15, "the feed fails after less than a second");
    assert_eq!(services[1]["termination_reason"], "completed");
    assert_eq!(document["report"]["cause"], "requested");
    assert_eq!(
        document["report"]["drain"]["aborted"],
        serde_json::json!([])
    );
    assert_eq!(ended.code, Some(0));
}

#[test]
fn services_are_stopped_and_restarted_by_what_is_typed() {
    let mut fleet = Fleet::start(&["--calm"]);
    fleet.line_with("service running service=\"report\"");
    fleet.type_line("stop report");
    fleet.line_with("service terminated service=\"report\" run=1 reason=cancelled");
    fleet.type_line("restart report");
    fleet.line_with("cannot restart service \"report\": it has terminated: cancelled");
    fleet.type_line("restart nobody");
    fleet.line_with("there is no service named \"nobody\"");
    fleet.type_line("restart ingest");
    fleet.line_with("service terminated service=\"ingest/reader\"");
    fleet.signal(Signal::TERM);
    let ended = fleet.end();
    assert_eq!(ended.code, Some(0), "{}", ended.stdout);
}

/// Readiness, a watchdog and a half-open breaker, as one sees them.
#[test]
fn an_index_becomes_ready_a_worker_hangs_and_an_exchange_recovers() {
    let mut fleet = Fleet::start(&["--calm"]);
    fleet.line_with("circuit breaker opened service=\"exchange\"");
    fleet.line_with("service running service=\"index\"");
    fleet.line_with("service failed service=\"worker\" run=1 kind=hang");
    fleet.line_with("service recovered service=\"exchange\" run=4");
    fleet.signal(Signal::TERM);
    assert_eq!(fleet.end().code, Some(0));
}

#[test]
fn the_metrics_are_served_over_http() {
    let mut fleet = Fleet::start(&["--calm"]);
    let address = fleet.metrics();
    let completed =
        "janus_supervisor_terminated_total{reason=\"completed\",service=\"migration\"} 1\n";
    let answer = fleet.metrics_with(address, completed);
    for part in [
        "HTTP/1.1 200 OK\r\n",
        "content-type: text/plain; version=0.0.4; charset=utf-8\r\n",
        "janus_supervisor_service_phase{phase=\"running\",service=\"kv\"} 1\n",
        "janus_supervisor_failures_total{kind=\"panic\",service=\"kv\"} 0\n",
    ] {
        assert!(answer.contains(part), "{part:?} is not in:\n{answer}");
    }
    fleet.signal(Signal::TERM);
    assert_eq!(fleet.end().code, Some(0));
}

/// Services fail and panic, and cannot say so: that is no reason to stop the others.
#[test]
fn it_goes_on_when_nobody_reads_its_log() {
    let mut fleet = Fleet::start(&["--calm"]);
    let client = Client(fleet.server());
    let metrics = fleet.metrics();
    fleet.stop_reading();
    let panicked = "janus_supervisor_failures_total{kind=\"panic\",service=\"report\"} 2\n";
    fleet.metrics_with(metrics, panicked);
    assert_eq!(client.ask("PING"), "PONG");
    fleet.signal(Signal::TERM);
    // It says that it could not print its report.
    assert_eq!(fleet.end().code, Some(1));
}

/// A test that fails leaves no orphan, not even one that ignores the shutdown.
#[test]
fn the_helper_of_these_tests_kills_what_it_started() {
    let mut fleet = Fleet::start(&["--calm", "--stubborn", "--grace", "1h"]);
    let server = fleet.server();
    assert_eq!(Client(server).ask("PING"), "PONG");
    let pid = fleet.pid();
    test_kill_process(pid).expect("it runs");
    drop(fleet);
    assert_eq!(test_kill_process(pid), Err(rustix::io::Errno::SRCH));
}
