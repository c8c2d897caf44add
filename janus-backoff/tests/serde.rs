//! Configuration files: what they look like, what may be left out, and what a mistake is answered with.
#![cfg(feature = "serde")]

use janus_backoff::{BackoffConfig, HumanDuration, Jitter};
use proptest::prelude::*;
use serde_json::json;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);
const S: Duration = Duration::from_secs(1);
const MIN: Duration = Duration::from_secs(60);

/// Nothing in it is the default.
fn unusual() -> BackoffConfig {
    BackoffConfig::new(250 * MS, 90 * MIN)
        .with_cooldown(36 * 60 * MIN)
        .with_circuit_breaker(4, 2 * MIN + S)
        .with_jitter(Jitter::Decorrelated)
        .with_initial_delay(Duration::ZERO)
}

#[test]
fn every_field_is_read_from_toml_and_written_to_it() {
    let text = "\
base_delay = \"250ms\"
max_delay = \"1h 30m\"
cooldown_period = \"1day 12h\"
max_retries = 4
circuit_breaker_window = \"2m 1s\"
jitter = \"decorrelated\"
initial_delay = \"0s\"
";
    assert_eq!(toml::from_str(text), Ok(unusual()));
    assert_eq!(toml::to_string(&unusual()).unwrap(), text);
}

#[test]
fn every_field_is_read_from_json_and_written_to_it() {
    let value = json!({
        "base_delay": "250ms",
        "max_delay": "1h 30m",
        "cooldown_period": "1day 12h",
        "max_retries": 4,
        "circuit_breaker_window": "2m 1s",
        "jitter": "decorrelated",
        "initial_delay": "0s",
    });
    assert_eq!(serde_json::to_value(unusual()).unwrap(), value);
    let back: BackoffConfig = serde_json::from_value(value).unwrap();
    assert_eq!(back, unusual());
}

#[test]
fn the_defaults_as_they_are_written() {
    assert_eq!(
        serde_json::to_string(&BackoffConfig::default()).unwrap(),
        concat!(
            r#"{"base_delay":"100ms","max_delay":"1m","cooldown_period":"5m","max_retries":10,"#,
            r#""circuit_breaker_window":"10m","jitter":"full"}"#
        )
    );
}

#[test]
fn what_is_left_out_has_its_default() {
    let default = BackoffConfig::default;
    assert_eq!(toml::from_str(""), Ok(default()));
    let table = [
        (
            r#"base_delay = "1s""#,
            BackoffConfig {
                base_delay: S,
                ..default()
            },
        ),
        (
            r#"max_delay = "2m""#,
            BackoffConfig {
                max_delay: 2 * MIN,
                ..default()
            },
        ),
        (r#"cooldown_period = "1s""#, default().with_cooldown(S)),
        ("max_retries = 0", default().without_circuit_breaker()),
        (
            r#"circuit_breaker_window = "20m""#,
            default().with_circuit_breaker(10, 20 * MIN),
        ),
        (r#"jitter = "none""#, default().with_jitter(Jitter::None)),
        (r#"initial_delay = "1s""#, default().with_initial_delay(S)),
    ];
    for (text, config) in table {
        assert_eq!(toml::from_str(text), Ok(config), "{text}");
    }
    let nulls: BackoffConfig =
        serde_json::from_value(json!({"base_delay": null, "initial_delay": null})).unwrap();
    assert_eq!(nulls, default());
}

#[test]
fn jitters_are_snake_case() {
    for (jitter, name) in [
        (Jitter::None, "none"),
        (Jitter::Full, "full"),
        (Jitter::Equal, "equal"),
        (Jitter::Decorrelated, "decorrelated"),
    ] {
        assert_eq!(serde_json::to_value(jitter).unwrap(), json!(name));
        assert_eq!(
            serde_json::from_value::<Jitter>(json!(name)).unwrap(),
            jitter
        );
    }
}

#[test]
fn durations_are_what_people_write() {
    for (text, duration) in [
        ("250ms", 250 * MS),
        ("5m", 5 * MIN),
        ("1h 30m", 90 * MIN),
        ("2min 3sec", 2 * MIN + 3 * S),
        ("0s", Duration::ZERO),
        ("1ns", Duration::from_nanos(1)),
    ] {
        let config: BackoffConfig = serde_json::from_value(
            json!({"base_delay": text, "max_delay": "1day", "max_retries": 0}),
        )
        .unwrap();
        assert_eq!(config.base_delay, duration, "{text}");
    }
}

/// A file and all that its error must say.
fn check_refused(cases: &[(&str, &[&str])]) {
    for (text, expected) in cases {
        let error = toml::from_str::<BackoffConfig>(text)
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default();
        for part in *expected {
            assert!(error.contains(part), "{text}: {part:?} not in: {error}");
        }
    }
}

/// Each of the five durations is named, whatever is wrong with it.
#[test]
fn a_bad_duration_is_named_and_quoted_and_explained() {
    let wrong = [
        (
            r#""5 parsecs""#,
            r#""5 parsecs" is not a duration like "250ms" or "5m": unknown time unit "parsecs""#,
        ),
        (
            r#""""#,
            r#""" is not a duration like "250ms" or "5m": value was empty"#,
        ),
        (
            r#""5""#,
            r#""5" is not a duration like "250ms" or "5m": time unit needed"#,
        ),
        (
            r#""-5s""#,
            r#""-5s" is not a duration like "250ms" or "5m": expected number"#,
        ),
        (
            r#""99999999999999999999y""#,
            r#""99999999999999999999y" is not a duration like "250ms" or "5m": number is too large"#,
        ),
        (
            "5",
            r#"invalid type: integer `5`, expected a duration like "250ms" or "5m""#,
        ),
        (
            "-5",
            r#"invalid type: integer `-5`, expected a duration like "250ms" or "5m""#,
        ),
        (
            "1.5",
            r#"invalid type: floating point `1.5`, expected a duration like "250ms" or "5m""#,
        ),
        (
            "true",
            r#"invalid type: boolean `true`, expected a duration like "250ms" or "5m""#,
        ),
    ];
    for field in [
        "base_delay",
        "max_delay",
        "cooldown_period",
        "circuit_breaker_window",
        "initial_delay",
        "half_open_after",
    ] {
        for (value, text) in wrong {
            let whole = format!("{field}: {text}");
            check_refused(&[(&format!("{field} = {value}"), &[&whole])]);
        }
    }
    let error = serde_json::from_value::<BackoffConfig>(json!({"base_delay": 5})).unwrap_err();
    assert_eq!(
        error.to_string(),
        r#"base_delay: invalid type: integer `5`, expected a duration like "250ms" or "5m""#
    );
}

#[test]
fn any_other_bad_value_is_shown_and_explained() {
    check_refused(&[
        (
            "base_delay = [1]",
            &[
                "base_delay: invalid type: sequence",
                r#"expected a duration like "250ms" or "5m""#,
            ],
        ),
        ("max_retries = -1", &["max_retries: ", "`-1`, expected u32"]),
        (
            "max_retries = 5000000000",
            &["max_retries: ", "`5000000000`, expected u32"],
        ),
        (
            "max_retries = \"ten\"",
            &["max_retries: ", "\"ten\", expected u32"],
        ),
        (
            "jitter = \"loud\"",
            &[
                "jitter: unknown variant `loud`, expected one of `none`, `full`, `equal`, `decorrelated`",
            ],
        ),
    ]);
}

#[test]
fn a_field_that_stands_twice_is_refused() {
    let twice = r#"{"max_retries": 1, "max_retries": 2}"#;
    let error = serde_json::from_str::<BackoffConfig>(twice).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("duplicate field `max_retries`"),
        "{error}"
    );
}

#[test]
fn something_else_than_a_map_is_refused() {
    let error = serde_json::from_str::<BackoffConfig>("[1]").unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("invalid type: sequence, expected backoff settings"),
        "{error}"
    );
}

#[test]
fn an_unknown_field_is_refused_and_the_known_ones_are_listed() {
    check_refused(&[(
        "max_retrys = 3",
        &[
            "unknown field `max_retrys`, expected one of `base_delay`, `max_delay`, `cooldown_period`, \
             `max_retries`, `circuit_breaker_window`, `jitter`, `initial_delay`, `half_open_after`",
        ],
    )]);
}

#[test]
fn what_is_read_is_validated() {
    check_refused(&[
        (
            "base_delay = \"2m\"",
            &["base_delay (120s) must not be longer than max_delay (60s)"],
        ),
        (
            "initial_delay = \"2m\"",
            &["initial_delay (120s) must not be longer than max_delay (60s)"],
        ),
        (
            "cooldown_period = \"0s\"",
            &["cooldown_period (0s) must be longer than zero"],
        ),
        (
            "circuit_breaker_window = \"0s\"",
            &["circuit_breaker_window (0s) must be longer than zero while max_retries is 10"],
        ),
        (
            "base_delay = \"1m\"\nmax_retries = 12\njitter = \"none\"",
            &[
                "12 failures (max_retries) are up to 660s of delays apart",
                "circuit_breaker_window (600s)",
            ],
        ),
    ]);
}

proptest! {
    #[test]
    fn any_duration_comes_back(secs in any::<u64>(), shift in 0..64_u32, nanos in 0..1_000_000_000_u32) {
        let duration = Duration::new(secs >> shift, nanos);
        let text = serde_json::to_string(&HumanDuration(duration)).unwrap();
        let back: HumanDuration = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(back.0, duration, "{}", text);
    }

    #[test]
    fn any_valid_configuration_comes_back(
        base in 0..100_000_u64,
        longer in any::<u64>(),
        cooldown in 1..u64::MAX,
        window in 1..u64::MAX,
        max_retries in 0..30_u32,
        initial in prop::option::of(0..100_000_u64),
        half_open in prop::option::of(1..u64::MAX),
        jitter in 0..4_usize,
    ) {
        let jitters = [Jitter::None, Jitter::Full, Jitter::Equal, Jitter::Decorrelated];
        let config = BackoffConfig {
            base_delay: Duration::from_nanos(base),
            max_delay: Duration::from_nanos(base.saturating_add(longer)),
            cooldown_period: Duration::from_nanos(cooldown),
            max_retries,
            circuit_breaker_window: Duration::from_nanos(window),
            jitter: jitters[jitter],
            initial_delay: initial.map(Duration::from_nanos),
            half_open_after: half_open.map(Duration::from_nanos),
        };
        prop_assume!(config.validate().is_ok());
        let json = serde_json::to_string(&config).unwrap();
        prop_assert_eq!(&serde_json::from_str::<BackoffConfig>(&json).unwrap(), &config);
        let toml = toml::to_string(&config).unwrap();
        prop_assert_eq!(&toml::from_str::<BackoffConfig>(&toml).unwrap(), &config);
    }
}
