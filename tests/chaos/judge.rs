//! Whether a fleet has ended as it should.

use crate::plan::{Plan, name};
use crate::run::{Outcome, TITLE};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::os::unix::process::ExitStatusExt;

/// How it has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// By the signal, which came before there were handlers.
    TooEarly,
    /// Everybody stopped in time.
    Clean,
    /// Somebody was dropped, and named.
    Aborted,
}

/// The report of a fleet, whichever way it was printed.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Report {
    cause: String,
    aborted: Vec<String>,
    stuck: Vec<String>,
    /// Every service that was spawned, and its phase.
    services: Vec<(String, String)>,
}

/// Compares what has come of a run with what the fleet promises.
///
/// # Errors
/// What is wrong.
pub(crate) fn judge(plan: &Plan, outcome: &Outcome) -> Result<Verdict> {
    let Outcome {
        status, printed, ..
    } = outcome;
    ensure!(!outcome.orphans, "it left processes behind");
    if let Some(signal) = status.signal() {
        let ours = outcome.sent.iter().any(|sent| sent.as_raw() == signal);
        ensure!(ours, "ended by signal {signal}, which nobody sent");
        ensure!(
            !printed.has(TITLE),
            "ended by signal {signal}, although it had said that it listens"
        );
        return Ok(Verdict::TooEarly);
    }
    let report = if plan.json {
        from_json(&printed.stdout)
    } else {
        ensure!(printed.stderr.is_empty(), "it wrote to stderr");
        from_text(&printed.stdout)
    };
    let report = report.context("no report")?;
    check_cause(outcome, &report)?;
    check_names(plan, outcome, &report)?;
    let clean = report.aborted.is_empty() && report.stuck.is_empty();
    let code = if clean { 0 } else { 1 };
    ensure!(
        status.code() == Some(code),
        "{status}, but the report says {code}"
    );
    Ok(if clean {
        Verdict::Clean
    } else {
        Verdict::Aborted
    })
}

fn check_cause(outcome: &Outcome, report: &Report) -> Result<()> {
    let counts = if outcome.first_alone { 1 } else { 2 };
    let mut causes = outcome.sent.iter().take(counts).map(|sent| name(*sent));
    ensure!(
        causes.any(|cause| report.cause == cause),
        "the cause is {}, but {:?} was sent",
        report.cause,
        outcome.sent
    );
    Ok(())
}

fn check_names(plan: &Plan, outcome: &Outcome, report: &Report) -> Result<()> {
    let has = |names: &[String], name: &str| names.iter().any(|one| one == name);
    for (service, phase) in &report.services {
        ensure!(
            phase == "terminated" || has(&report.stuck, service),
            "{service} is {phase}"
        );
    }
    // The signal may have come before it was spawned, or before its first run.
    let began = outcome.printed.has("service running service=\"stubborn\"");
    ensure!(plan.stubborn || !began, "nobody asked for `stubborn`");
    // Time that passes while the process is stopped is over for its services, too; and a second signal leaves them
    // none.
    let was_stopped = !outcome.stopped.is_zero();
    let is_stuck = was_stopped && has(&report.stuck, "stubborn");
    let was_dropped = has(&report.aborted, "stubborn") || is_stuck;
    ensure!(
        was_dropped == began,
        "`stubborn` never stops by itself, once it runs"
    );
    if !was_stopped {
        ensure!(report.stuck.is_empty(), "stuck: {:?}", report.stuck);
        if outcome.sent.len() == 1 {
            let others = report.aborted.iter().filter(|name| *name != "stubborn");
            let others: Vec<&String> = others.collect();
            ensure!(others.is_empty(), "aborted, but polite: {others:?}");
        }
    }
    Ok(())
}

/// `shutdown (SIGTERM): 13 drained, aborted: stubborn in 2.0s`, and a table before it. A thread that has seen a second
/// signal may log after it.
fn from_text(stdout: &str) -> Option<Report> {
    let mut ends = stdout.lines().rev();
    let end = ends.find_map(|line| line.strip_prefix("shutdown ("))?;
    let (cause, drain) = end.split_once("): ")?;
    let (who, _took) = drain.rsplit_once(" in ")?;
    let mut report = Report {
        cause: cause.to_owned(),
        services: table(stdout)?,
        ..Report::default()
    };
    for part in who.split(", ") {
        let list = |names: &str| names.split(' ').map(str::to_owned).collect();
        if let Some(names) = part.strip_prefix("aborted: ") {
            report.aborted = list(names);
        } else if let Some(names) = part.strip_prefix("stuck: ") {
            report.stuck = list(names);
        } else {
            part.strip_suffix(" drained")?.parse::<usize>().ok()?;
        }
    }
    Some(report)
}

/// The lines between the head of the table and the empty line after it.
fn table(stdout: &str) -> Option<Vec<(String, String)>> {
    let mut lines = stdout.lines();
    lines.find(|line| line.starts_with("SERVICE "))?;
    let rows = lines.take_while(|line| !line.is_empty());
    rows.map(|row| {
        let mut words = row.split_whitespace().map(str::to_owned);
        Some((words.next()?, words.next()?))
    })
    .collect()
}

fn from_json(stdout: &str) -> Option<Report> {
    let document: Value = serde_json::from_str(stdout).ok()?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let drain = &document["report"]["drain"];
    let list =
        |names: &Value| -> Option<Vec<String>> { names.as_array()?.iter().map(text).collect() };
    let services = document["snapshot"]["services"].as_array()?;
    let service = |one: &Value| Some((text(&one["service_name"])?, text(&one["phase"])?));
    let cause = match document["report"]["cause"].as_str()? {
        "terminate" => "SIGTERM",
        "interrupt" => "SIGINT",
        other => other,
    };
    Some(Report {
        cause: cause.to_owned(),
        aborted: list(&drain["aborted"])?,
        stuck: list(&drain["stuck"])?,
        services: services.iter().map(service).collect::<Option<_>>()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn report_is_read_with_its_table() {
        let stdout = "a log line\n\
            SERVICE     PHASE        STARTS\n\
            kv          terminated        1\n\
            \n\
            0 active.\n\
            shutdown (SIGTERM): 1 drained, aborted: a b, stuck: c in 2.0s\n\
            another log line\n";
        let expected = Report {
            cause: "SIGTERM".to_owned(),
            aborted: vec!["a".to_owned(), "b".to_owned()],
            stuck: vec!["c".to_owned()],
            services: vec![("kv".to_owned(), "terminated".to_owned())],
        };
        assert_eq!(from_text(stdout), Some(expected));
    }

    #[test]
    fn what_is_cut_off_is_no_report() {
        let table = "SERVICE PHASE\n\n";
        assert_eq!(from_text(table), None);
        let half = format!("{table}shutdown (SIGTERM): 1 dra\n");
        assert_eq!(from_text(&half), None);
        assert_eq!(from_json("{\"report\": {"), None);
    }
}
