//! The README's example, word for word.

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "the example asks the clock, as a program would"
)]
fn the_example_works() -> Result<(), janus_backoff::ConfigError> {
    use janus_backoff::{BackoffAction, BackoffConfig, BackoffState, Jitter};
    use std::time::{Duration, Instant};

    let config = BackoffConfig::new(Duration::from_millis(100), Duration::from_secs(60))
        .with_jitter(Jitter::Equal)
        .with_circuit_breaker(5, Duration::from_secs(600));
    config.validate()?;

    let mut backoff = BackoffState::new(config, 42);
    match backoff.next_backoff(Instant::now()) {
        BackoffAction::Retry(delay) => assert!(delay >= Duration::from_millis(50)),
        BackoffAction::CircuitOpen { failures, .. } => panic!("{failures} failures"),
    }
    Ok(())
}

#[test]
fn the_example_is_the_one_in_the_readme() {
    let (readme, here) = (include_str!("../README.md"), include_str!("readme.rs"));
    let example = readme.split("```").nth(1).unwrap();
    let lines: Vec<_> = example.lines().skip(1).map(str::trim_end).collect();
    let tested: Vec<_> = here
        .lines()
        .map(|line| line.strip_prefix("    ").unwrap_or(line))
        .collect();
    assert!(lines.len() > 5, "no example found");
    assert!(
        tested.windows(lines.len()).any(|window| window == lines),
        "the README's example is not the one that is tested here:\n{example}"
    );
}
