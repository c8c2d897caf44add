//! A port of this machine that stays the same over the restarts of its server.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use tokio::net::TcpListener;

/// The address belongs to the service, each listener to one run: a server that is down refuses its clients, as a
/// crashed process would.
pub(crate) struct Port {
    address: SocketAddr,
    /// For the first run: from the beginning the port is this server's, and clients who come early wait in its queue.
    first: Mutex<Option<TcpListener>>,
}

impl Port {
    /// Takes a port; 0 takes a free one.
    pub(crate) async fn bind(port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        Ok(Self {
            address: listener.local_addr()?,
            first: Mutex::new(Some(listener)),
        })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The listener of a run.
    pub(crate) async fn listen(&self) -> io::Result<TcpListener> {
        let first = self
            .first
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        match first {
            Some(listener) => Ok(listener),
            // Possible at once, although connections of the last run linger: on Unix, tokio sets SO_REUSEADDR.
            None => TcpListener::bind(self.address).await,
        }
    }
}
