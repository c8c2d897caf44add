//! The same metrics over OTLP: only the provider is another one. `cargo run --example otlp`
//!
//! The collector that they are sent to is a few lines of this program, so that one sees them arrive. Prints (the size
//! varies):
//! ```text
//! POST /v1/metrics, application/x-protobuf, 2616 bytes
//! it is about janus_supervisor.restarts
//! ```
#![expect(clippy::print_stdout, reason = "an example talks")]

use janus_metrics_otel::OtelObserver;
use janus_supervisor::{BackoffConfig, JanusSupervisor, SupervisorConfig, service_fn};
use opentelemetry::metrics::MeterProvider as _;
use opentelemetry_otlp::{MetricExporter, Protocol, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::metrics::SdkMeterProvider;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;

type Error = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Error> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let endpoint = format!("http://{}/v1/metrics", listener.local_addr()?);
    let collector = tokio::spawn(collect_one(listener));

    // A client is only needed because ours must not go through a proxy: the collector is in this very process.
    let client = reqwest::blocking::Client::builder().no_proxy();
    let client = tokio::task::spawn_blocking(|| client.build()).await??;
    // This is all that differs: `PrometheusExporter::meter` there, a provider with an OTLP exporter here.
    let exporter = MetricExporter::builder()
        .with_http()
        .with_http_client(client)
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(endpoint)
        .with_timeout(Duration::from_secs(5))
        .build()?;
    let provider = SdkMeterProvider::builder()
        .with_periodic_exporter(exporter) // once a minute, and when it is shut down
        .build();
    let observer = OtelObserver::new(&provider.meter("janus"));

    let delay = Duration::from_millis(1);
    let supervisor = JanusSupervisor::new(
        SupervisorConfig::default()
            .without_signal_handler()
            .with_default_backoff(
                BackoffConfig::new(delay, delay).with_circuit_breaker(3, Duration::from_secs(60)),
            )
            .with_observer(Arc::new(observer)),
    );
    let feed = service_fn("feed", |_cancel| async { Err("no route".into()) });
    supervisor.spawn_service(feed)?.terminated().await;

    // It waits for the collector's answer, and must not do so on a thread of the runtime.
    tokio::task::spawn_blocking(move || provider.shutdown()).await??;
    let received = tokio::time::timeout(Duration::from_secs(5), collector).await???;
    println!(
        "{}, {}, {} bytes",
        received.request,
        received.content_type,
        received.body.len()
    );
    let metric = "janus_supervisor.restarts";
    let mut windows = received.body.windows(metric.len());
    if !windows.any(|window| window == metric.as_bytes()) {
        return Err(format!("there is nothing about {metric} in it").into());
    }
    println!("it is about {metric}");
    Ok(())
}

struct Received {
    request: String,
    content_type: String,
    body: Vec<u8>,
}

/// A collector that takes one request and says yes.
async fn collect_one(listener: TcpListener) -> io::Result<Received> {
    let (stream, _) = listener.accept().await?;
    let mut stream = BufReader::new(stream);
    let (mut request, mut content_type, mut length) = (String::new(), String::new(), 0);
    stream.read_line(&mut request).await?;
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break; // the empty line after the head
        };
        match name.to_ascii_lowercase().as_str() {
            "content-type" => value.clone_into(&mut content_type),
            "content-length" => length = value.parse().map_err(io::Error::other)?,
            _ => {}
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    stream
        .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        .await?;
    let request = request.trim_end().trim_end_matches(" HTTP/1.1").to_owned();
    Ok(Received {
        request,
        content_type,
        body,
    })
}
