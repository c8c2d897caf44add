//! A small but real system under one supervisor, to watch and to stop: `cargo run --example fleet`
//!
//! A TCP key-value server and a client that needs it; a gremlin that crashes the server now and then; a feed that
//! fails, a report that panics, a link that can never work, a migration that runs once, an old module that polls a
//! flag, an index that is not ready at once, a worker that hangs, an exchange that is down for a while, and a group
//! whose parts depend on one another. Type `stop NAME` or `restart NAME`. Ctrl-C or SIGTERM ends it; a second one ends
//! it at once.

mod commands;
mod services;
mod table;

use clap::Parser;
use janus_metrics_otel::PrometheusExporter;
use janus_supervisor::{
    JanusSupervisor, ShutdownReport, SpawnError, SupervisorConfig, SupervisorSnapshot,
};
use services::{Kv, MetricsEndpoint};
use std::error::Error;
use std::io::{self, IsTerminal, Write as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

/// Watch Janus keep a small system running.
#[derive(Debug, Parser)]
struct Args {
    /// End by itself after this long, such as 10s.
    #[arg(long = "for", value_name = "DURATION", value_parser = humantime::parse_duration)]
    run_for: Option<Duration>,
    /// Print the final snapshot and the report as JSON, and nothing else.
    #[arg(long)]
    json: bool,
    /// Add a service that ignores cancellation.
    #[arg(long)]
    stubborn: bool,
    /// Leave out the gremlin that crashes the server every few seconds.
    #[arg(long)]
    calm: bool,
    /// How long all services together may take to stop.
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = humantime::parse_duration)]
    grace: Duration,
    /// The port of the key-value server on 127.0.0.1; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// The port of the metrics on 127.0.0.1; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    metrics_port: u16,
    /// Where jitter starts from: the same seed gives the same delays. [default: a random one]
    #[arg(long)]
    seed: Option<u64>,
}

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let args = Args::parse();
    let live = io::stdout().is_terminal() && !args.json;
    set_up_output(live, args.json);

    let kv = Kv::bind(args.port).await?;
    let address = kv.address();
    let exporter = Arc::new(PrometheusExporter::new()?);
    let metrics = MetricsEndpoint::bind(args.metrics_port, Arc::clone(&exporter)).await?;
    let title = format!(
        "kv listening on {address}: PING, SET key value, GET key, DEL key, CRASH\nmetrics on http://{}/metrics",
        metrics.address()
    );
    let mut config = SupervisorConfig::default()
        .with_shutdown_timeout(args.grace)
        .with_observer(exporter.observer());
    config.seed = args.seed;
    let supervisor = JanusSupervisor::new(config);
    // From here on signals are handled, so whoever reads the address can also stop the fleet.
    if args.json {
        writeln!(io::stderr(), "{title}")?;
    } else {
        writeln!(io::stdout(), "{title}")?;
    }
    match spawn_all(&supervisor, metrics, kv, &args) {
        // A signal came before all had begun: those that have are drained like any others.
        Ok(()) | Err(SpawnError::ShuttingDown { .. }) => {}
        Err(error) => return Err(error.into()),
    }

    commands::obey(&supervisor);
    if let Some(after) = args.run_for {
        let supervisor = supervisor.clone();
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            supervisor.trigger_shutdown();
        });
    }
    let report = if live {
        table::show_until(&title, &supervisor, supervisor.run_until_shutdown()).await?
    } else {
        supervisor.run_until_shutdown().await?
    };

    // Not `println`, which panics if whoever read this has gone.
    let mut out = io::stdout().lock();
    if args.json {
        writeln!(out, "{}", to_json(&report, &supervisor.snapshot())?)?;
    } else {
        if !live {
            write!(out, "{}", table::render(&supervisor.snapshot(), false))?;
        }
        writeln!(out, "{report}")?;
    }
    Ok(exit_code(&report))
}

fn spawn_all(
    supervisor: &JanusSupervisor,
    metrics: MetricsEndpoint,
    kv: Kv,
    args: &Args,
) -> Result<(), SpawnError> {
    let address = kv.address();
    supervisor.spawn_service_with_options(metrics, services::quick_to_return())?;
    supervisor.spawn_service_with_options(services::migration(&kv), services::once())?;
    supervisor.spawn_service_with_options(kv, services::quick_to_return())?;
    // The consumer needs the server: it starts after it, and stops before it.
    let patient = services::patient().after(["kv"]);
    supervisor.spawn_service_with_options(services::consumer(address), patient)?;
    if !args.calm {
        supervisor
            .spawn_service_with_options(services::gremlin(address), services::now_and_then())?;
    }
    supervisor.spawn_service_with_options(services::feed(), services::patient())?;
    supervisor.spawn_service_with_options(services::report(), services::patient())?;
    supervisor.spawn_service_with_options(services::dead_link(), services::soon_gives_up())?;
    supervisor.spawn_service(services::old_module())?;
    supervisor.spawn_service_with_options(services::index(), services::ready_in_time())?;
    supervisor.spawn_service_with_options(services::worker(), services::watched())?;
    supervisor.spawn_service_with_options(services::exchange(), services::half_open())?;
    supervisor.spawn_group(services::ingest())?;
    if args.stubborn {
        supervisor.spawn_service(services::stubborn())?;
    }
    Ok(())
}

/// Log lines, unless a table is on the screen; on stderr, where stdout is for JSON.
fn set_up_output(live: bool, json: bool) {
    // The supervisor reports what a panic said. Rust's own message would say it again and tear the table; this says
    // where.
    std::panic::set_hook(Box::new(|panic| {
        if let Some(location) = panic.location() {
            tracing::error!("panicked at {location}");
        }
    }));
    let writer = match (live, json) {
        (true, _) => return,
        (false, true) => BoxMakeWriter::new(io::stderr),
        (false, false) => BoxMakeWriter::new(io::stdout),
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        .with_ansi(false)
        .with_target(false)
        // Otherwise a line that cannot be written is reported by `eprintln`, which panics when stderr is gone as well.
        .log_internal_errors(false)
        .init();
}

fn to_json(
    report: &ShutdownReport,
    snapshot: &SupervisorSnapshot,
) -> Result<String, serde_json::Error> {
    serde_json::to_string_pretty(&serde_json::json!({ "report": report, "snapshot": snapshot }))
}

fn exit_code(report: &ShutdownReport) -> ExitCode {
    u8::try_from(report.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from)
}
