//! How the rules of a group are written, and what a termination comes to.

use janus_supervisor::TerminationReason;
use janus_supervisor::machine::{AutoShutdown, ChildEnd, Intensity, Strategy};
use std::time::Duration;

#[test]
fn strategies_and_rules_have_names() {
    let strategies = [
        Strategy::OneForOne,
        Strategy::OneForAll,
        Strategy::RestForOne,
    ];
    assert_eq!(
        strategies.map(|strategy| strategy.to_string()),
        ["one_for_one", "one_for_all", "rest_for_one"]
    );
    assert_eq!(
        strategies.map(Strategy::as_str),
        strategies.map(|strategy| strategy.to_string())
    );
    let rules = [
        AutoShutdown::Never,
        AutoShutdown::AnySignificant,
        AutoShutdown::AllSignificant,
        AutoShutdown::AllTerminated,
    ];
    assert_eq!(
        rules.map(|rule| rule.to_string()),
        [
            "never",
            "any_significant",
            "all_significant",
            "all_terminated"
        ]
    );
    assert_eq!(
        rules.map(AutoShutdown::as_str),
        rules.map(|rule| rule.to_string())
    );
}

#[test]
fn an_intensity_is_written_as_one_says_it() {
    let shown = |n| Intensity::new(n, Duration::from_secs(5)).to_string();
    assert_eq!(shown(0), "0 restarts within 5s");
    assert_eq!(shown(1), "1 restart within 5s");
    assert_eq!(Intensity::default().to_string(), "3 restarts within 5s");
    assert_eq!(Intensity::unlimited().max_restarts, u32::MAX);
}

#[test]
fn a_child_that_was_stopped_or_lost_has_not_failed() {
    let failed = TerminationReason::Unrecoverable("no".into());
    let opened = TerminationReason::CircuitBreakerOpen {
        failures: 3,
        max_retries: 3,
    };
    let ends = [
        (Some(TerminationReason::Completed), ChildEnd::Completed),
        (Some(TerminationReason::Cancelled), ChildEnd::Stopped),
        (Some(TerminationReason::Aborted), ChildEnd::Stopped),
        (None, ChildEnd::Stopped),
        (Some(failed), ChildEnd::Failed),
        (Some(opened), ChildEnd::Failed),
    ];
    for (reason, end) in ends {
        assert_eq!(ChildEnd::of(reason.as_ref()), end, "{reason:?}");
    }
}
