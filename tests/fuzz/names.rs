//! Names of policies and their like: what is read is what was written, and what is refused is shown.

use crate::edits::{Edit, edited, pick};
use bolero::check;
use janus_supervisor::{
    AutoShutdown, FailureKind, Intensity, Jitter, Readiness, RestartPolicy, ServicePhase, Strategy,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

const NAMES: &[&str] = &[
    "always",
    "on_failure",
    "never",
    "none",
    "full",
    "equal",
    "decorrelated",
    "one_for_one",
    "one_for_all",
    "rest_for_one",
    "any_significant",
    "all_significant",
    "all_terminated",
    "immediate",
    "notify",
    "backing_off",
    "start_timeout",
    "",
];

#[test]
fn a_name_is_read_as_it_was_written_or_shown_as_it_was_given() {
    check!(name = "names")
        .with_iterations(4_000)
        .with_type::<(u8, Vec<Edit>)>()
        .for_each(|(which, edits)| {
            let text = edited(pick(NAMES, *which), &edits[..edits.len().min(2)]);
            match text.parse::<RestartPolicy>() {
                Ok(policy) => {
                    assert_eq!(policy.as_str(), text);
                    assert_eq!(policy.to_string(), text);
                }
                Err(why) => assert!(why.to_string().contains(&format!("{text:?}"))),
            }
            by_serde::<RestartPolicy>(&text);
            by_serde::<Jitter>(&text);
            by_serde::<Strategy>(&text);
            by_serde::<AutoShutdown>(&text);
            by_serde::<Readiness>(&text);
            by_serde::<FailureKind>(&text);
            by_serde::<ServicePhase>(&text);
        });
}

fn by_serde<T: DeserializeOwned + Serialize>(text: &str) {
    match serde_json::from_value::<T>(json!(text)) {
        Ok(name) => assert_eq!(serde_json::to_value(name).unwrap(), json!(text)),
        Err(why) => assert!(why.to_string().contains(text), "{why}"),
    }
}

const DURATIONS: &[&str] = &[
    "1h 30m",
    "250ms",
    "0s",
    "1year 2months 3days",
    "584542046090years 7months 15days 17h 5m 3s 999ms 999us 999ns",
    "18446744073709551615s",
    "18446744073709551615ns",
];

#[test]
fn a_duration_is_read_and_written_or_shown_as_it_was_given() {
    check!(name = "durations")
        .with_iterations(4_000)
        .with_type::<(u8, Vec<Edit>)>()
        .for_each(|(which, edits)| {
            let text = edited(pick(DURATIONS, *which), &edits[..edits.len().min(2)]);
            let read = |text: &Value| serde_json::from_value::<Intensity>(json!({"within": text}));
            match read(&json!(text)) {
                Ok(intensity) => {
                    let written = serde_json::to_value(intensity).unwrap();
                    assert_eq!(read(&written["within"]).unwrap(), intensity, "{written}");
                }
                Err(why) => {
                    let why = why.to_string();
                    assert!(why.starts_with("within: "), "{why}");
                    assert!(why.contains(&format!("{text:?}")), "{text:?}: {why}");
                }
            }
        });
}
