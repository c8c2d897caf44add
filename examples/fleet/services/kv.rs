//! A key-value server: `PING`, `SET key value`, `GET key`, `DEL key`, and `CRASH`, which makes its run fail.

use super::port::Port;
use janus_supervisor::{CancellationToken, JanusService, ServiceError};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// A line is no longer than this, or its connection is closed.
const LONGEST_LINE: u64 = 4096;

/// What survives a restart: the port and the data. Connections belong to the run.
pub(crate) struct Kv {
    port: Port,
    store: Store,
}

/// The data.
pub(crate) type Store = Arc<Mutex<BTreeMap<String, String>>>;

impl Kv {
    pub(crate) async fn bind(port: u16) -> io::Result<Self> {
        Ok(Self {
            port: Port::bind(port).await?,
            store: Store::default(),
        })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.port.address()
    }

    pub(crate) fn store(&self) -> Store {
        Arc::clone(&self.store)
    }

    /// Until cancelled, or crashed by a client.
    async fn serve_all(
        &self,
        listener: TcpListener,
        connections: &mut JoinSet<io::Result<()>>,
        cancel: &CancellationToken,
    ) -> Result<(), ServiceError> {
        let (crash, mut crashed) = mpsc::channel(1);
        loop {
            tokio::select! {
                () = cancel.cancelled() => return Ok(()),
                Some(who) = crashed.recv() => return Err(format!("crashed by {who}").into()),
                Some(_ended) = connections.join_next() => {}
                accepted = listener.accept() => {
                    let (stream, peer) = accepted?;
                    connections.spawn(serve(stream, peer, self.store(), crash.clone()));
                }
            }
        }
    }
}

impl JanusService for Kv {
    fn name(&self) -> &str {
        "kv"
    }

    async fn run(&self, cancel: CancellationToken) -> Result<(), ServiceError> {
        let listener = self.port.listen().await?;
        let mut connections = JoinSet::new();
        let end = self.serve_all(listener, &mut connections, &cancel).await;
        // Dropping the set would only ask them to end. Waiting makes sure that no connection outlives the run.
        connections.shutdown().await;
        end
    }
}

/// One client, until it hangs up or sends too long a line.
async fn serve(
    mut stream: TcpStream,
    peer: SocketAddr,
    store: Store,
    crash: mpsc::Sender<SocketAddr>,
) -> io::Result<()> {
    let (read, mut write) = stream.split();
    let mut lines = BufReader::new(read);
    let mut line = String::new();
    loop {
        line.clear();
        let length = (&mut lines).take(LONGEST_LINE).read_line(&mut line).await?;
        if length == 0 || !line.ends_with('\n') {
            return Ok(());
        }
        let answer = match answer(line.trim_end(), &store) {
            Answer::Line(answer) => answer,
            Answer::Crash => {
                // Nobody listens any more if another client has crashed it already.
                crash.send(peer).await.ok();
                return Ok(());
            }
        };
        write.write_all(answer.as_bytes()).await?;
        write.write_all(b"\n").await?;
    }
}

enum Answer {
    Line(String),
    Crash,
}

fn answer(request: &str, store: &Store) -> Answer {
    let mut store = store.lock().unwrap_or_else(PoisonError::into_inner);
    let mut words = request.splitn(3, ' ');
    let line = match (words.next(), words.next(), words.next()) {
        (Some("PING"), None, None) => "PONG".to_owned(),
        (Some("SET"), Some(key), Some(value)) => {
            store.insert(key.to_owned(), value.to_owned());
            "OK".to_owned()
        }
        (Some("GET"), Some(key), None) => match store.get(key) {
            Some(value) => format!("VALUE {value}"),
            None => "NONE".to_owned(),
        },
        (Some("DEL"), Some(key), None) => match store.remove(key) {
            Some(_) => "OK".to_owned(),
            None => "NONE".to_owned(),
        },
        (Some("CRASH"), None, None) => return Answer::Crash,
        _ => format!("ERROR unknown request {request:?}"),
    };
    Answer::Line(line)
}
