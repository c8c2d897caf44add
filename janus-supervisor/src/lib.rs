//! Supervision of the long-running services of one tokio process.
//!
//! A service is an `async fn run(&self, cancel)`. The supervisor starts it, catches its errors and its panics, restarts
//! it with exponential backoff and jitter, gives up through a circuit breaker, shows what every service is doing, and
//! on SIGTERM brings everything down in order and in time.
//!
//! ```text
//!   a service's exit, a stop request, a timer
//!        │
//!        ▼                 Input + now
//!   driver (tokio) ──────────────────────────▶ machine (pure)
//!        ▲                                     lifecycle + backoff + policy
//!        └──────────────────────────────────── │
//!              Command: run, stop, abort       │ events
//!                                              ▼
//!                        snapshots, counters, log lines, your Observers
//! ```
//!
//! ```
//! use janus_supervisor::{JanusSupervisor, ServiceError, SupervisorConfig, service_fn};
//! use std::time::Duration;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let supervisor = JanusSupervisor::new(SupervisorConfig::default().with_shutdown_timeout(Duration::from_secs(5)));
//! supervisor.spawn_service(service_fn("ticker", |cancel| async move {
//!     cancel.cancelled().await; // your work goes here
//!     Ok(())
//! }))?;
//! # supervisor.trigger_shutdown();
//! let report = supervisor.run_until_shutdown().await?; // SIGTERM, Ctrl-C, or trigger_shutdown()
//! println!("{report}"); // shutdown (SIGTERM): 1 drained in 0ms
//! # assert_eq!(report.exit_code(), 0);
//! # Ok(())
//! # }
//! ```
//!
//! # What happens when
//!
//! | the run ends by            | [`Always`](RestartPolicy::Always) | [`OnFailure`](RestartPolicy::OnFailure) | [`Never`](RestartPolicy::Never) |
//! |----------------------------|--------------------------|-------------------------|-------------------------|
//! | `Ok(())`                   | waits `base_delay`, runs again | completed         | completed               |
//! | `Err`, panic, hang, start timeout | backoff, runs again | backoff, runs again     | unrecoverable           |
//! | [`ServiceError::permanent`] | unrecoverable           | unrecoverable           | unrecoverable           |
//! | the breaker opens          | circuit breaker open, or a [trial run later](BackoffConfig::half_open_after) | the same | - |
//! | a stop was requested       | cancelled; an error on the way out is kept | the same | the same             |
//! | an error that says "cancelled", and nobody cancelled | a failure like any other | the same | the same |
//! | its grace is over          | dropped: aborted         | the same                | the same                |
//!
//! A clean exit is not a failure: it is counted nowhere, and sets the delay back to the base. When a run has been up for
//! [`cooldown_period`](BackoffConfig::cooldown_period), earlier failures are forgotten then and there, while it is up.
//!
//! # Groups
//!
//! A [`Group`] holds services and groups that depend on one another: they start in order, stop in reverse, and restart
//! together by a [`Strategy`]. More restarts than its [`Intensity`] tolerates, and it fails as a whole. Among the
//! supervisor's own services, [`SpawnOptions::after`] orders start and shutdown, and [`AutoShutdown`] ends the whole
//! when its work is done.
//!
//! # What a service can tell, and be told
//!
//! [`notify`] is what a run can tell its supervisor: that it is ready, alive, and what it is doing. A [`ServiceHandle`]
//! is how to ask and to tell a service from outside. [`JanusSupervisor::is_ready`] answers a probe.
//!
//! # Configuration files
//!
//! With the feature `serde`, [`SupervisorConfig`] and [`SpawnOptions`] can be read from JSON, TOML, YAML, and any
//! other format that says which value has which name. These are all keys in TOML, with values that are not the defaults; each can be left out, and one that is unknown is an error. What a
//! file cannot say (observers, runtimes) is added in code.
//!
//! ```
//! # #[cfg(feature = "serde")]
//! # fn main() -> Result<(), toml::de::Error> {
//! use janus_supervisor::{SpawnOptions, SupervisorConfig};
//!
//! let config: SupervisorConfig = toml::from_str(r#"
//!     shutdown_timeout = "20s"
//!     abort_timeout = "500ms"
//!     install_signal_handler = false
//!     seed = 42
//!     auto_shutdown = "all_significant" # never, any_significant, all_significant, all_terminated
//!     max_concurrent_starts = 8
//!     restart_spread = "50ms"
//!     event_buffer = 4096
//!
//!     [intensity]
//!     max_restarts = 10
//!     within = "1m"
//!
//!     [default_backoff]
//!     base_delay = "250ms"
//!     max_delay = "2m"
//!     initial_delay = "0s"              # of the first retry alone
//!     jitter = "equal"                  # none, full, equal, decorrelated
//!     cooldown_period = "10m"
//!     max_retries = 5                   # failures that open the breaker; 0: there is none
//!     circuit_breaker_window = "15m"
//!     half_open_after = "30s"           # an open breaker lets one run try
//! "#)?;
//! assert_eq!(config.intensity.map(|intensity| intensity.max_restarts), Some(10));
//!
//! let options: SpawnOptions = toml::from_str(r#"
//!     restart_policy = "always"         # always, on_failure, never
//!     shutdown_grace = "5s"
//!     significant = true
//!     after = ["db"]
//!     readiness = "notify"              # immediate, notify
//!     start_timeout = "10s"
//!     watchdog = "30s"
//!     ephemeral = false
//!     backoff = { base_delay = "1s" }   # instead of all of default_backoff: other keys are as in BackoffConfig::default()
//! "#)?;
//! # let _ = options;
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "serde"))]
//! # fn main() {}
//! ```
//!
//! # Log lines
//!
//! They go to `tracing`, under targets that begin with `janus_supervisor`: without a subscriber, such as
//! `tracing_subscriber::fmt::init()`, there are none. What the panic hook says of a panic is not among them: by default
//! it prints each to the standard error.
//!
//! | level | what |
//! |-------|------|
//! | error | a service gave up, failed for good, or blocks its thread; a shutdown that a failure began; an observer panicked |
//! | warn | a failure (at most one a minute for each service, with the number of those left out); an error after a stop; a breaker that is half-open later; a run or a service that had to be dropped, or whose drop panicked, or that was lost with its runtime; a shutdown that was not clean; a second signal |
//! | info | the first run, a recovery, a reset (by a restart by hand, of one that had failed), the end; a service that no longer blocks its thread; a shutdown's beginning and end |
//! | debug | later runs, stopping, and what was left out above |
//!
//! # The crates
//!
//! | crate | use it |
//! |-------|--------|
//! | `janus-supervisor` | to run services |
//! | `janus-backoff` | to retry anything, with or without a runtime |
//! | `janus-lifecycle` | to write a metrics backend ([`Observer`]) or a supervisor of your own |
//! | `janus-metrics-otel` | for OpenTelemetry and Prometheus: its `PrometheusExporter::observer()` goes into [`SupervisorConfig::with_observer`] |
//!
//! # Features
//!
//! - `serde` (off by default): configuration with human durations (`"250ms"`, `"5m"`), snapshots and reports as plain
//!   data.
//!
//! # Runtime
//!
//! Services run on the tokio runtime that they are spawned in, which needs its time driver and, for signals, its I/O
//! driver (`enable_all`). Time is tokio's: under a paused clock, tests of restarts take no time at all (if they call
//! the supervisor from inside the runtime: outside, nobody knows of a paused clock; and if no
//! [`BlockingService`](adapters::BlockingService) is running: that clock stands still while a thread of the pool is
//! busy).
//!
//! For each runtime of several threads that it is used on, a supervisor has a thread of its own, `janus-sysmon`, which
//! looks ten times a second and wakes another thread when a run blocks the one that waits for timers and signals. A
//! runtime whose threads are all blocked notices neither.

pub mod adapters;
mod cell;
mod clock;
mod config;
mod driver;
mod error;
mod group;
mod handle;
mod log;
pub mod machine;
mod metrics;
pub mod notify;
mod registry;
mod report;
mod revival;
mod root;
#[cfg(feature = "serde")]
mod serde_impl;
mod service;
mod shared;
mod spawn;
mod starts;
mod subscription;
mod supervisor;

pub use config::{SpawnOptions, SupervisorConfig};
pub use error::{
    CheckError, GroupError, PanicError, RemoveError, RestartError, ServiceError, SpawnError,
    SupervisorError,
};
pub use group::{Group, GroupHandle};
pub use handle::ServiceHandle;
pub use janus_backoff::{
    BackoffAction, BackoffConfig, BackoffState, ConfigError, Jitter, SlidingWindow,
};
pub use janus_lifecycle::{
    AfterExit, BoxError, Displaced, ErrorChain, EventKind, Exit, Failure, FailureCounts,
    FailureKind, Observer, ParsePolicyError, RestartPolicy, Retry, RunOutcome, ServiceEvent,
    ServiceLifecycle, ServiceLifecycleSnapshot, ServicePhase, TerminationReason, TransitionError,
};
pub use machine::{AutoShutdown, Intensity, Readiness, Strategy};
pub use metrics::{MetricsSnapshot, SupervisorMetrics};
pub use notify::{Notifier, StopReason};
pub use report::{DrainReport, ShutdownCause, ShutdownReport};
pub use service::{BoxService, JanusService, ServiceFn, service_fn};
pub use subscription::Subscription;
pub use supervisor::{JanusSupervisor, SnapshotNode, SupervisorSnapshot, WeakSupervisor};
pub use tokio_util::sync::CancellationToken;
