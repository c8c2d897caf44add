//! The supervisor's metrics over HTTP, for Prometheus to scrape.

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::{Router, routing};
use janus_metrics_otel::PrometheusExporter;
use janus_supervisor::{CancellationToken, JanusService, ServiceError};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use tokio::net::TcpListener;

/// `GET /metrics`.
pub(crate) struct MetricsEndpoint {
    address: SocketAddr,
    exporter: Arc<PrometheusExporter>,
}

impl MetricsEndpoint {
    /// Finds out which address it will have, so that it is the same after a restart.
    pub(crate) async fn bind(port: u16, exporter: Arc<PrometheusExporter>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let address = listener.local_addr()?;
        Ok(Self { address, exporter })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl JanusService for MetricsEndpoint {
    fn name(&self) -> &str {
        "metrics"
    }

    async fn run(&self, cancel: CancellationToken) -> Result<(), ServiceError> {
        let listener = TcpListener::bind(self.address).await?;
        let router = Router::new()
            .route("/metrics", routing::get(metrics))
            .with_state(Arc::clone(&self.exporter));
        axum::serve(listener, router)
            .with_graceful_shutdown(cancel.cancelled_owned())
            .await?;
        Ok(())
    }
}

/// Asks every service, so not on a thread that others wait for.
async fn metrics(State(exporter): State<Arc<PrometheusExporter>>) -> impl IntoResponse {
    match tokio::task::spawn_blocking(move || exporter.render()).await {
        Ok(Ok(text)) => Ok(([(CONTENT_TYPE, PrometheusExporter::CONTENT_TYPE)], text)),
        Ok(Err(error)) => Err((StatusCode::INTERNAL_SERVER_ERROR, error.to_string())),
        Err(panic) => Err((StatusCode::INTERNAL_SERVER_ERROR, panic.to_string())),
    }
}
