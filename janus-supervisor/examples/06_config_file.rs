//! Settings from a file, and what it says to a wrong one. `cargo run --example 06_config_file --features serde`
//!
//! Prints:
//! ```text
//! shutdown within 10s, first delay 250ms
//! default_backoff: base_delay: "5 parsecs" is not a duration like "250ms" or "5m": unknown time unit "parsecs", supported units: ns, us/µs, ms, sec, min, hours, days, weeks, months, years (and few variations)
//! default_backoff: base_delay (120s) must not be longer than max_delay (90s)
//! ```
#![expect(clippy::print_stdout, reason = "an example talks")]

use janus_supervisor::SupervisorConfig;

const GOOD: &str = r#"
shutdown_timeout = "10s"

[default_backoff]
base_delay = "250ms"
max_delay = "1m 30s"
max_retries = 5
circuit_breaker_window = "10m"
jitter = "equal"
"#;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let config: SupervisorConfig = toml::from_str(GOOD)?;
    println!(
        "shutdown within {:?}, first delay {:?}",
        config.shutdown_timeout, config.default_backoff.base_delay
    );
    for wrong in ["5 parsecs", "2m"] {
        let file = GOOD.replace("250ms", wrong);
        if let Err(error) = toml::from_str::<SupervisorConfig>(&file) {
            println!("{}", error.message());
        }
    }
    Ok(())
}
