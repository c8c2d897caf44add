//! Two clients of the server: one that works with it, and one that crashes it.

use janus_supervisor::{JanusService, ServiceError, service_fn};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// Counts in the store, and fails whenever the server is down.
pub(crate) fn consumer(server: SocketAddr) -> impl JanusService {
    service_fn("consumer", move |cancel| async move {
        // Also in the middle of a request: a server that does not answer must not hold up the shutdown.
        cancel
            .run_until_cancelled(count(server))
            .await
            .unwrap_or(Ok(()))
    })
}

async fn count(server: SocketAddr) -> Result<(), ServiceError> {
    let mut client = Client::connect(server).await?;
    loop {
        let count = match client.ask("GET count").await?.strip_prefix("VALUE ") {
            Some(count) => count.parse::<u64>()?,
            None => 0,
        };
        client.ask(&format!("SET count {}", count + 1)).await?;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Crashes the server once, a few seconds into each run, and is done.
pub(crate) fn gremlin(server: SocketAddr) -> impl JanusService {
    service_fn("gremlin", move |cancel| async move {
        tokio::select! {
            () = cancel.cancelled() => return Ok(()),
            () = tokio::time::sleep(Duration::from_secs(3)) => {}
        }
        Client::connect(server).await?.send("CRASH").await?;
        Ok(())
    })
}

/// A connection to the server.
struct Client {
    answers: Lines<BufReader<OwnedReadHalf>>,
    requests: OwnedWriteHalf,
}

impl Client {
    async fn connect(server: SocketAddr) -> Result<Self, ServiceError> {
        let stream = TcpStream::connect(server)
            .await
            .map_err(|error| format!("no connection to the kv server: {error}"))?;
        let (read, requests) = stream.into_split();
        Ok(Self {
            answers: BufReader::new(read).lines(),
            requests,
        })
    }

    async fn send(&mut self, request: &str) -> io::Result<()> {
        self.requests
            .write_all(format!("{request}\n").as_bytes())
            .await
    }

    async fn ask(&mut self, request: &str) -> Result<String, ServiceError> {
        self.send(request).await?;
        match self.answers.next_line().await? {
            Some(answer) => Ok(answer),
            None => Err("the kv server hung up".into()),
        }
    }
}
