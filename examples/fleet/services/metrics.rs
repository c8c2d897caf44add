//! The supervisor's metrics over HTTP, for Prometheus to scrape.

use super::port::Port;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::{Router, routing};
use janus_metrics_otel::PrometheusExporter;
use janus_supervisor::{CancellationToken, JanusService, ServiceError};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

/// `GET /metrics`.
pub(crate) struct MetricsEndpoint {
    port: Port,
    exporter: Arc<PrometheusExporter>,
}

impl MetricsEndpoint {
    pub(crate) async fn bind(port: u16, exporter: Arc<PrometheusExporter>) -> io::Result<Self> {
        let port = Port::bind(port).await?;
        Ok(Self { port, exporter })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.port.address()
    }
}

impl JanusService for MetricsEndpoint {
    fn name(&self) -> &str {
        "metrics"
    }

    async fn run(&self, cancel: CancellationToken) -> Result<(), ServiceError> {
        let listener = self.port.listen().await?;
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
