//! Settings from a file: what they look like, what may be left out, and what a mistake is answered with.
#![cfg(feature = "serde")]

use janus_supervisor::{
    AutoShutdown, BackoffConfig, Intensity, JanusSupervisor, Jitter, Readiness, RestartPolicy,
    ServicePhase, SpawnOptions, SupervisorConfig, TerminationReason, service_fn,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);
const S: Duration = Duration::from_secs(1);

/// Settings as JSON, since they cannot be compared themselves.
fn written(settings: &impl Serialize) -> Value {
    serde_json::to_value(settings).unwrap_or_default()
}

/// Nothing in it is the default.
fn unusual() -> SupervisorConfig {
    let backoff = BackoffConfig::new(S, 30 * S).with_jitter(Jitter::Equal);
    let mut config = SupervisorConfig::default()
        .with_shutdown_timeout(90 * S)
        .with_abort_timeout(250 * MS)
        .with_default_backoff(backoff)
        .without_signal_handler()
        .with_seed(42);
    config.default_backoff.initial_delay = Some(Duration::ZERO);
    config
}

const UNUSUAL: &str = r#"shutdown_timeout = "1m 30s"
abort_timeout = "250ms"
install_signal_handler = false
seed = 42

[default_backoff]
base_delay = "1s"
max_delay = "30s"
cooldown_period = "5m"
max_retries = 10
circuit_breaker_window = "10m"
jitter = "equal"
initial_delay = "0s"
"#;

#[test]
fn a_supervisor_is_read_from_toml_and_written_to_it() {
    assert_eq!(toml::to_string(&unusual()).unwrap(), UNUSUAL);
    let read: SupervisorConfig = toml::from_str(UNUSUAL).unwrap();
    assert_eq!(read.shutdown_timeout, 90 * S);
    assert_eq!(read.abort_timeout, 250 * MS);
    assert_eq!(read.default_backoff, unusual().default_backoff);
    assert!(!read.install_signal_handler);
    assert_eq!(read.seed, Some(42));
    assert!(read.observers.is_empty());
}

#[test]
fn a_supervisor_is_read_from_json_and_written_to_it() {
    let value = json!({
        "default_backoff": {
            "base_delay": "1s",
            "max_delay": "30s",
            "cooldown_period": "5m",
            "max_retries": 10,
            "circuit_breaker_window": "10m",
            "jitter": "equal",
            "initial_delay": "0s",
        },
        "shutdown_timeout": "1m 30s",
        "abort_timeout": "250ms",
        "install_signal_handler": false,
        "seed": 42,
    });
    assert_eq!(written(&unusual()), value);
    let read: SupervisorConfig = serde_json::from_value(value.clone()).unwrap();
    assert_eq!(written(&read), value);
}

#[test]
fn what_is_left_out_of_a_supervisor_has_its_default() {
    let default = SupervisorConfig::default();
    for empty in [
        "{}",
        r#"{"default_backoff": {}}"#,
        r#"{"default_backoff": null, "shutdown_timeout": null, "seed": null}"#,
    ] {
        let read: SupervisorConfig = serde_json::from_str(empty).unwrap();
        assert_eq!(written(&read), written(&default), "{empty}");
    }
    let read: SupervisorConfig = toml::from_str("").unwrap();
    assert_eq!(written(&read), written(&default));
    assert_eq!(
        toml::to_string(&default).unwrap(),
        r#"shutdown_timeout = "30s"
abort_timeout = "1s"
install_signal_handler = true

[default_backoff]
base_delay = "100ms"
max_delay = "1m"
cooldown_period = "5m"
max_retries = 10
circuit_breaker_window = "10m"
jitter = "full"
"#
    );
    // One at a time: the others stay what they are.
    let one: SupervisorConfig = toml::from_str(r#"abort_timeout = "2s""#).unwrap();
    assert_eq!(written(&one), written(&default.with_abort_timeout(2 * S)),);
}

#[test]
fn what_ends_a_supervisor_is_read_and_written() {
    let text = r#"auto_shutdown = "all_significant"
max_concurrent_starts = 8
restart_spread = "100ms"
event_buffer = 16
intensity = { max_restarts = 5, within = "1m" }
"#;
    let read: SupervisorConfig = toml::from_str(text).unwrap();
    let config = SupervisorConfig::default()
        .with_auto_shutdown(AutoShutdown::AllSignificant)
        .with_max_concurrent_starts(8)
        .with_restart_spread(100 * MS)
        .with_event_buffer(16)
        .with_intensity(Intensity::new(5, 60 * S));
    assert_eq!(written(&read), written(&config));
    assert_eq!(
        written(&read)["intensity"],
        json!({"max_restarts": 5, "within": "1m"})
    );
    let partly: SupervisorConfig = toml::from_str("intensity = { max_restarts = 9 }").unwrap();
    assert_eq!(
        partly.intensity,
        Some(Intensity::new(9, Intensity::default().within))
    );
    check_refused::<SupervisorConfig>(&[(
        json!({"intensity": {"max_restart": 1}}),
        "intensity: unknown field `max_restart`, expected `max_restarts` or `within`",
    )]);
}

#[test]
fn options_are_read_and_written_and_only_what_is_set() {
    let backoff = BackoffConfig::default().without_circuit_breaker();
    let all = SpawnOptions::with_backoff(backoff)
        .with_restart_policy(RestartPolicy::OnFailure)
        .with_shutdown_grace(1500 * MS)
        .significant()
        .after(["db", "cache"])
        .with_readiness(Readiness::Notify)
        .with_start_timeout(3 * S)
        .with_watchdog(250 * MS)
        .ephemeral();
    let text = r#"restart_policy = "on_failure"
shutdown_grace = "1s 500ms"
significant = true
after = ["db", "cache"]
readiness = "notify"
start_timeout = "3s"
watchdog = "250ms"
ephemeral = true

[backoff]
base_delay = "100ms"
max_delay = "1m"
cooldown_period = "5m"
max_retries = 0
circuit_breaker_window = "10m"
jitter = "full"
"#;
    assert_eq!(toml::to_string(&all).unwrap(), text);
    let read: SpawnOptions = toml::from_str(text).unwrap();
    assert_eq!(written(&read), written(&all));

    for (text, value) in [
        ("", json!({})),
        (
            r#"restart_policy = "never""#,
            json!({"restart_policy": "never"}),
        ),
        (r#"shutdown_grace = "0s""#, json!({"shutdown_grace": "0s"})),
    ] {
        let read: SpawnOptions = toml::from_str(text).unwrap();
        assert_eq!(written(&read), value);
        let read: SpawnOptions = serde_json::from_value(value.clone()).unwrap();
        assert_eq!(written(&read), value);
    }
    let nulls = r#"{"backoff": null, "restart_policy": null, "shutdown_grace": null}"#;
    let read: SpawnOptions = serde_json::from_str(nulls).unwrap();
    assert_eq!(written(&read), json!({}));
}

/// The longest there are, and the shortest.
#[test]
fn any_duration_comes_back() {
    for duration in [
        Duration::MAX,
        Duration::ZERO,
        Duration::from_nanos(1),
        Duration::new(86_399, 999_999_999),
    ] {
        let config = unusual().with_shutdown_timeout(duration);
        let text = toml::to_string(&config).unwrap();
        let back: SupervisorConfig = toml::from_str(&text).unwrap();
        assert_eq!(back.shutdown_timeout, duration, "{text}");
    }
}

/// The whole of what the mistake is answered with, in JSON; and in TOML the line that says what it is, which comes
/// after those that say where.
fn check_refused<T: DeserializeOwned>(cases: &[(Value, &str)]) {
    for (file, expected) in cases {
        let error = serde_json::from_value::<T>(file.clone()).err();
        let error = error.map(|error| error.to_string());
        assert_eq!(error.as_deref(), Some(*expected), "{file}");
        let Ok(text) = toml::to_string(file) else {
            continue;
        };
        let error = toml::from_str::<T>(&text).err();
        let error = error.map(|error| error.to_string()).unwrap_or_default();
        assert_eq!(error.lines().last(), Some(*expected), "{text}");
    }
}

#[test]
fn a_mistake_in_a_supervisor_is_answered_with_the_field_the_value_and_the_rule() {
    check_refused::<SupervisorConfig>(&[
        (
            json!({"shutdown_timeout": 30}),
            r#"shutdown_timeout: invalid type: integer `30`, expected a duration like "250ms" or "5m""#,
        ),
        (
            json!({"shutdown_timeout": "soon"}),
            r#"shutdown_timeout: "soon" is not a duration like "250ms" or "5m": expected number at 0"#,
        ),
        (
            json!({"abort_timeout": ""}),
            r#"abort_timeout: "" is not a duration like "250ms" or "5m": value was empty"#,
        ),
        (
            json!({"install_signal_handler": "yes"}),
            r#"install_signal_handler: invalid type: string "yes", expected a boolean"#,
        ),
        (
            json!({"seed": -1}),
            "seed: invalid value: integer `-1`, expected u64",
        ),
        (
            json!({"default_backoff": 5}),
            "default_backoff: invalid type: integer `5`, expected backoff settings",
        ),
        (
            json!({"default_backoff": {"base_delay": 5}}),
            r#"default_backoff: base_delay: invalid type: integer `5`, expected a duration like "250ms" or "5m""#,
        ),
        (
            json!({"default_backoff": {"base_delay": "2s", "max_delay": "1s"}}),
            "default_backoff: base_delay (2s) must not be longer than max_delay (1s)",
        ),
        (
            json!({"default_backoff": {"max_retries": 0, "cooldown_period": "0s"}}),
            "default_backoff: cooldown_period (0s) must be longer than zero: every run would clear the failures before it",
        ),
        (
            json!({"shutdown_timout": "1s"}),
            "unknown field `shutdown_timout`, expected one of `default_backoff`, `shutdown_timeout`, `abort_timeout`, `install_signal_handler`, `seed`, `intensity`, `auto_shutdown`, `max_concurrent_starts`, `restart_spread`, `event_buffer`",
        ),
        (
            json!({"observers": []}),
            "unknown field `observers`, expected one of `default_backoff`, `shutdown_timeout`, `abort_timeout`, `install_signal_handler`, `seed`, `intensity`, `auto_shutdown`, `max_concurrent_starts`, `restart_spread`, `event_buffer`",
        ),
        (
            json!({"default_backoff": {"base": "1s"}}),
            "default_backoff: unknown field `base`, expected one of `base_delay`, `max_delay`, `cooldown_period`, `max_retries`, `circuit_breaker_window`, `jitter`, `initial_delay`, `half_open_after`",
        ),
        (
            json!([]),
            "invalid type: sequence, expected supervisor settings",
        ),
    ]);
}

#[test]
fn a_mistake_in_options_is_answered_with_the_field_the_value_and_the_rule() {
    check_refused::<SpawnOptions>(&[
        (
            json!({"restart_policy": "sometimes"}),
            "restart_policy: unknown variant `sometimes`, expected one of `always`, `on_failure`, `never`",
        ),
        (
            json!({"shutdown_grace": "-1s"}),
            r#"shutdown_grace: "-1s" is not a duration like "250ms" or "5m": expected number at 0"#,
        ),
        (
            json!({"grace": "1s"}),
            "unknown field `grace`, expected one of `backoff`, `restart_policy`, `shutdown_grace`, `significant`, `after`, `readiness`, `start_timeout`, `watchdog`, `ephemeral`",
        ),
        (
            json!({"backoff": {"max_retries": 3, "circuit_breaker_window": "0s"}}),
            "backoff: circuit_breaker_window (0s) must be longer than zero while max_retries is 3; for no breaker set max_retries to 0",
        ),
        (
            json!({"backoff": {"base_delay": "10s", "jitter": "none", "max_retries": 4, "circuit_breaker_window": "1m"}}),
            "backoff: the circuit breaker can never open: 4 failures (max_retries) are up to 70s of delays apart, which does not fit into circuit_breaker_window (60s)",
        ),
        (
            json!(5),
            "invalid type: integer `5`, expected settings of a service",
        ),
    ]);
}

/// Where a parser sees the text, it also says where.
#[test]
fn a_mistake_in_json_is_located() {
    let error = serde_json::from_str::<SupervisorConfig>(r#"{"seed": "x"}"#).unwrap_err();
    assert_eq!(
        error.to_string(),
        r#"seed: invalid type: string "x", expected u64 at line 1 column 12"#
    );
}

#[test]
fn a_field_that_stands_twice_is_refused() {
    let twice = r#"{"seed": 1, "seed": 2}"#;
    let error = serde_json::from_str::<SupervisorConfig>(twice).unwrap_err();
    assert_eq!(
        error.to_string(),
        "duplicate field `seed` at line 1 column 18"
    );
    let twice = r#"{"restart_policy": "never", "restart_policy": "never"}"#;
    let error = serde_json::from_str::<SpawnOptions>(twice).unwrap_err();
    assert_eq!(
        error.to_string(),
        "duplicate field `restart_policy` at line 1 column 44"
    );
}

/// What is read is what is done.
#[tokio::test(start_paused = true)]
async fn a_service_follows_the_options_of_its_file() {
    let config: SupervisorConfig = toml::from_str(UNUSUAL).unwrap();
    let supervisor = JanusSupervisor::new(config);
    let options: SpawnOptions = toml::from_str(
        r#"restart_policy = "always"
        shutdown_grace = "3s"
        [backoff]
        base_delay = "7s"
        jitter = "none"
        "#,
    )
    .unwrap();
    let runs = AtomicU32::new(0);
    let service = service_fn("it", move |_cancel| {
        let first = runs.fetch_add(1, SeqCst) == 0;
        async move {
            if first {
                return Ok(());
            }
            std::future::pending().await
        }
    });
    let handle = supervisor
        .spawn_service_with_options(service.with_restart_policy(RestartPolicy::Never), options)
        .unwrap();
    tokio::time::sleep(6999 * MS).await;
    assert_eq!(handle.phase(), ServicePhase::BackingOff);
    tokio::time::sleep(2 * MS).await;
    assert_eq!(handle.phase(), ServicePhase::Running);
    let before = tokio::time::Instant::now();
    assert_eq!(handle.stop().await, TerminationReason::Aborted);
    assert_eq!(before.elapsed(), 3 * S);
}
