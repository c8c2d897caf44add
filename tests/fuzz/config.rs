//! Settings from files: nothing makes them panic, and what is accepted can be written and read again.

use crate::edits::{Edit, Word, edited, pick};
use bolero::{TypeGenerator, check};
use janus_supervisor::{BackoffConfig, Intensity, SpawnOptions, SupervisorConfig};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use std::fmt::Debug;

/// Good documents, of which the changed ones are made. They are in the corpus, too.
const DOCUMENTS: [&str; 4] = [
    include_str!("__fuzz__/config_text/corpus/supervisor.toml"),
    include_str!("__fuzz__/config_text/corpus/supervisor.json"),
    include_str!("__fuzz__/config_text/corpus/service.toml"),
    include_str!("__fuzz__/config_text/corpus/service.json"),
];

#[test]
fn no_text_makes_settings_panic() {
    check!(name = "config_text")
        .with_iterations(2_000)
        .for_each(|bytes: &[u8]| read(&String::from_utf8_lossy(bytes)));
}

#[test]
fn changed_settings_are_refused_or_survive_the_way_to_a_file_and_back() {
    check!(name = "config_edited")
        .with_iterations(2_000)
        .with_type::<(u8, Vec<Edit>)>()
        .for_each(|(which, edits)| {
            let document = pick(&DOCUMENTS, *which);
            read(&edited(document, &edits[..edits.len().min(4)]));
        });
}

/// Reads the text as each kind of settings, in each format.
fn read(text: &str) {
    if let Some(config) = read_as::<BackoffConfig>(text) {
        config.validate().unwrap();
    }
    read_as::<SupervisorConfig>(text);
    read_as::<SpawnOptions>(text);
    read_as::<Intensity>(text);
}

/// What the text says, if it says anything. Then it has come back as it was from a file that says the same.
fn read_as<T: DeserializeOwned + Serialize + Debug>(text: &str) -> Option<T> {
    let from_json: Option<T> = serde_json::from_str(text).ok();
    if let Some(settings) = &from_json {
        let written = serde_json::to_string(settings).unwrap();
        let again: T = serde_json::from_str(&written).unwrap_or_else(|why| {
            panic!("what was written is refused: {why}: {written}");
        });
        assert_eq!(shown(&again), shown(settings), "{written}");
    }
    let from_toml: Option<T> = toml::from_str(text).ok();
    if let Some(settings) = &from_toml {
        let written = toml::to_string(settings).unwrap();
        let again: T = toml::from_str(&written).unwrap_or_else(|why| {
            panic!("what was written is refused: {why}: {written}");
        });
        assert_eq!(shown(&again), shown(settings), "{written}");
    }
    from_json.or(from_toml)
}

/// Settings as text, since they cannot be compared themselves.
fn shown(settings: &impl Debug) -> String {
    format!("{settings:?}")
}

/// What may stand where a value should.
#[derive(Debug, Clone, TypeGenerator)]
enum Setting {
    Nothing,
    Bool(bool),
    Small(u8),
    Whole(i64),
    Positive(u64),
    Broken(f64),
    Text(Word),
    List(Vec<Word>),
    Table(Vec<(u8, Word)>),
}

impl Setting {
    fn value(&self) -> Value {
        let parts = [BACKOFF, INTENSITY].concat();
        match self {
            Self::Nothing => Value::Null,
            Self::Bool(on) => json!(on),
            Self::Small(n) => json!(n),
            Self::Whole(n) => json!(n),
            Self::Positive(n) => json!(n),
            Self::Broken(n) => json!(n),
            Self::Text(word) => json!(word.text()),
            Self::List(words) => words.iter().map(Word::text).collect(),
            Self::Table(entries) => {
                let entry =
                    |(key, word): &(u8, Word)| (pick(&parts, *key).to_owned(), json!(word.text()));
                Value::Object(entries.iter().map(entry).collect::<Map<_, _>>())
            }
        }
    }
}

const BACKOFF: &[&str] = &[
    "base_delay",
    "max_delay",
    "cooldown_period",
    "max_retries",
    "circuit_breaker_window",
    "jitter",
    "initial_delay",
    "half_open_after",
    "max_retry",
];
const SUPERVISOR: &[&str] = &[
    "default_backoff",
    "shutdown_timeout",
    "abort_timeout",
    "install_signal_handler",
    "seed",
    "intensity",
    "auto_shutdown",
    "max_concurrent_starts",
    "restart_spread",
    "event_buffer",
    "observers",
];
const SERVICE: &[&str] = &[
    "backoff",
    "restart_policy",
    "shutdown_grace",
    "significant",
    "after",
    "readiness",
    "start_timeout",
    "watchdog",
    "ephemeral",
    "runtime",
];
const INTENSITY: &[&str] = &["max_restarts", "within", "period"];

#[test]
fn what_is_wrong_with_a_setting_is_said_with_its_name() {
    check!(name = "config_setting")
        .with_iterations(4_000)
        .with_type::<(u8, u8, Setting)>()
        .for_each(|(which, field, setting)| match which % 4 {
            0 => set::<BackoffConfig>(pick(BACKOFF, *field), setting),
            1 => set::<SupervisorConfig>(pick(SUPERVISOR, *field), setting),
            2 => set::<SpawnOptions>(pick(SERVICE, *field), setting),
            _ => set::<Intensity>(pick(INTENSITY, *field), setting),
        });
}

/// That one setting is accepted, and survives, or is refused by an error that names it.
fn set<T: DeserializeOwned + Serialize + Debug>(field: &str, setting: &Setting) {
    let document = json!({ field: setting.value() });
    match serde_json::from_value::<T>(document.clone()) {
        Ok(_) => {
            read_as::<T>(&document.to_string());
        }
        Err(why) => {
            let why = why.to_string();
            assert!(why.contains(field), "{document}: {why}");
        }
    }
}

/// So that the lists above are those of the settings.
#[test]
fn each_field_but_the_last_is_known() {
    fn check<T: DeserializeOwned + Debug>(fields: &[&str]) {
        let (stranger, known) = fields.split_last().unwrap();
        let why = |field: &str| {
            let refused = serde_json::from_value::<T>(json!({ field: {"x": 1} }));
            refused.err().map(|why| why.to_string()).unwrap()
        };
        for field in known {
            assert!(!why(field).contains("unknown field `") || why(field).starts_with(field));
        }
        assert!(why(stranger).starts_with("unknown field"));
    }
    check::<BackoffConfig>(BACKOFF);
    check::<SupervisorConfig>(SUPERVISOR);
    check::<SpawnOptions>(SERVICE);
    check::<Intensity>(INTENSITY);
}
