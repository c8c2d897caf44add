//! Flat, or not.

use crate::sample::{Sample, kib};
use anyhow::{Context, Result, ensure};

/// Live memory may differ by so much between quiet times, whatever the length of the storm.
///
/// What differs without a leak: the texts of the last errors and of the last status of some thousand services, tables
/// that keep the room of their fullest moment, the runtime's blocks of timers; some 25 KiB in twenty seconds, and 15
/// KiB in the later minutes of ten. A leak of one cell, 640 bytes, for each tenth of the services that come and go
/// would be more than this bound within twenty seconds; for each six-hundredth of them within ten minutes.
pub(crate) const NOISE: usize = 256 * 1024;

/// Judges the samples of a storm. The first is of before the storm.
///
/// The first half is the warm-up: tables grow to their full size, and every kind of end leaves its first line in the
/// metrics. Of the second half, live memory may not grow by more than [`NOISE`]; the median of its beginning and of its
/// end are compared, so that neither one high nor one low sample decides. What can be counted has to be exactly what it
/// was.
pub(crate) fn judge(samples: &[Sample]) -> Result<String> {
    let (before, storm) = samples.split_first().context("no samples")?;
    for sample in storm {
        ensure!(
            sample.registered == before.registered,
            "{} services were registered before the storm, {} after {:.0?}",
            before.registered,
            sample.registered,
            sample.at
        );
        ensure!(
            sample.tasks == before.tasks,
            "the runtime had {} tasks before the storm, {} after {:.0?}",
            before.tasks,
            sample.tasks,
            sample.at
        );
    }
    let (_warm_up, rest) = storm.split_at(storm.len() / 2);
    let (early, late) = rest.split_at(rest.len() / 2);
    ensure!(!early.is_empty(), "too short: {} samples", samples.len());
    let series = |part: &[Sample]| median(part, |sample| sample.series);
    ensure!(
        series(late) <= series(early),
        "the metrics grew from {} lines to {}",
        series(early),
        series(late)
    );
    let live = |part: &[Sample]| median(part, |sample| sample.live);
    let (from, to) = (live(early), live(late));
    ensure!(
        to <= from + NOISE,
        "live memory grew from {:.1} KiB to {:.1} KiB",
        kib(from),
        kib(to)
    );
    Ok(format!(
        "flat: live memory from {:.1} KiB to {:.1} KiB, {} tasks, {} lines of metrics",
        kib(from),
        kib(to),
        before.tasks,
        series(late)
    ))
}

/// The middle one; the lower of two.
fn median(samples: &[Sample], what: impl Fn(&Sample) -> usize) -> usize {
    let mut values: Vec<usize> = samples.iter().map(what).collect();
    values.sort_unstable();
    let middle = values.len().saturating_sub(1) / 2;
    values.get(middle).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Eight samples of a storm, and one before it.
    fn samples(live: impl Fn(usize) -> usize) -> Vec<Sample> {
        let sample = |i| Sample {
            registered: 10,
            tasks: 12,
            series: 100,
            live: live(i),
            ..Sample::default()
        };
        (0..9).map(sample).collect()
    }

    #[test]
    fn what_stays_is_flat() {
        assert!(judge(&samples(|_| 1_000)).is_ok());
    }

    #[test]
    fn warm_up_may_grow() {
        assert!(judge(&samples(|i| i.min(4) * NOISE)).is_ok());
    }

    #[test]
    fn steady_growth_is_a_leak() {
        assert!(judge(&samples(|i| i * NOISE)).is_err());
    }

    #[test]
    fn one_high_sample_is_no_leak() {
        let high = |i: usize| if i == 8 { 10 * NOISE } else { 0 };
        assert!(judge(&samples(high)).is_ok());
    }

    #[test]
    fn one_task_too_many_is_not_flat() {
        let mut samples = samples(|_| 1_000);
        samples[5].tasks += 1;
        assert!(judge(&samples).is_err());
    }

    #[test]
    fn one_service_too_many_is_not_flat() {
        let mut samples = samples(|_| 1_000);
        samples[5].registered += 1;
        assert!(judge(&samples).is_err());
    }

    #[test]
    fn two_samples_are_too_few() {
        assert!(judge(&samples(|_| 1_000)[..2]).is_err());
    }
}
