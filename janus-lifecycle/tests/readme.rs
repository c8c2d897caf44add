//! The README's example, word for word.

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "the example asks the clock, as a program would"
)]
#[rustfmt::skip]
fn the_example_works() -> Result<(), janus_lifecycle::TransitionError> {
    use janus_lifecycle::{Failure, FailureKind, Retry, ServiceLifecycle};
    use std::time::{Duration, Instant};

    let (now, second) = (Instant::now(), Duration::from_secs(1));
    let mut feed = ServiceLifecycle::new(now, "feed");
    feed.transition_to_running(now + second)?;

    let failure = Failure::new(FailureKind::Error, "connection reset");
    let retry = Retry { at: now + 4 * second, attempt: 1 };
    feed.transition_to_backing_off(now + 3 * second, retry, Some(failure))?;
    assert_eq!(feed.cumulative_running_time(now + 3 * second), 2 * second);
    assert!(feed.transition_to_running(now + 4 * second).is_err());
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
