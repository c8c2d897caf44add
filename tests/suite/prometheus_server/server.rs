//! The server, what it scrapes, and how it is asked.

use janus_tests::{ms, secs};
use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// Values by the label `service`, which is empty where there is none.
pub(super) type Answer = BTreeMap<String, f64>;

/// Whether a program of the package `prometheus` is there. If not: a failure in CI, and a note elsewhere.
pub(super) fn installed(program: &str) -> bool {
    let version = Command::new(program).arg("--version").output();
    let found = version.is_ok_and(|said| said.status.success());
    let why = "prometheus is not installed: apt-get install prometheus";
    assert!(found || std::env::var_os("CI").is_none(), "{why}");
    if !found {
        #[expect(clippy::print_stderr, reason = "who skips a test says so")]
        {
            eprintln!("skipped: {why}");
        }
    }
    found
}

/// Answers every request on loopback with what `render` says.
pub(super) async fn serve(render: impl Fn() -> String + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut stream = BufReader::new(stream);
            let mut line = String::new();
            // Up to the empty line that ends the head.
            while stream.read_line(&mut line).await.is_ok_and(|n| n > 2) {
                line.clear();
            }
            let body = render();
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: {}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                janus_metrics_otel::PrometheusExporter::CONTENT_TYPE,
                body.len()
            );
            let answer = [head, body].concat();
            // A scrape that was given up is the server's business.
            let _gone = stream.write_all(answer.as_bytes()).await;
        }
    });
    address
}

/// A running server. Dropping it ends it.
pub(super) struct Prometheus {
    process: Child,
    address: SocketAddr,
    dir: TempDir,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // An error means that it has ended.
        let _ended = self.process.kill();
        let _status = self.process.wait();
    }
}

impl Prometheus {
    /// Starts it, and waits until it answers.
    pub(super) async fn start(target: SocketAddr) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = format!(
            "global: {{scrape_interval: 200ms, scrape_timeout: 200ms}}\n\
             scrape_configs: [{{job_name: janus, static_configs: [{{targets: ['{target}']}}]}}]\n"
        );
        fs::write(dir.path().join("prometheus.yml"), config).unwrap();
        // Free a moment ago. If somebody else takes it meanwhile, the server ends and says so.
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let log = fs::File::create(dir.path().join("log")).unwrap();
        let process = Command::new("prometheus")
            .arg("--config.file=prometheus.yml")
            .arg("--storage.tsdb.path=data")
            .arg(format!("--web.listen-address={address}"))
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut started = Self {
            process,
            address,
            dir,
        };
        while started.get("/-/ready").await.is_none() {
            let ended = started.process.try_wait().unwrap();
            assert!(ended.is_none(), "it ended: {}", started.log());
            tokio::time::sleep(ms(50)).await;
        }
        started
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap()
    }

    /// Asks until the answer is as it should be, and fails with the last one if it never is.
    pub(super) async fn until(&self, query: &str, is_right: impl Fn(&Answer) -> bool) {
        let mut last = None;
        let asking = async {
            loop {
                last = self.query(query).await;
                if last.as_ref().is_some_and(&is_right) {
                    return;
                }
                tokio::time::sleep(ms(50)).await;
            }
        };
        let in_time = tokio::time::timeout(secs(20), asking).await.is_ok();
        assert!(in_time, "{query} is {last:?}\n{}", self.log());
    }

    /// The answer to an instant query; `None` if there is none yet.
    async fn query(&self, query: &str) -> Option<Answer> {
        let encoded: String = query.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let body = self.get(&format!("/api/v1/query?query={encoded}")).await?;
        let answer: serde_json::Value = serde_json::from_str(&body).unwrap();
        let series = answer["data"]["result"].as_array();
        assert!(series.is_some(), "{query}: {answer}");
        let pairs = series.unwrap().iter().map(|series| {
            let service = series["metric"]["service"].as_str().unwrap_or("");
            let value = series["value"][1].as_str().unwrap();
            (service.to_owned(), value.parse().unwrap())
        });
        let pairs: Vec<(String, f64)> = pairs.collect();
        let answer: Answer = pairs.iter().cloned().collect();
        assert_eq!(answer.len(), pairs.len(), "one for each service: {query}");
        Some(answer)
    }

    /// The body of a page, if the server is there and has it.
    async fn get(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(self.address).await.ok()?;
        // 1.0, so that the answer comes in one piece and ends with the connection.
        let request = format!("GET {path} HTTP/1.0\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        head.split(' ')
            .nth(1)?
            .starts_with('2')
            .then(|| body.to_owned())
    }
}
