//! A restart by hand of a child of a group, as a protocol.

use super::checks::{NOTIFY, check_with};
use super::trace::{machine, played};
use super::{In, t0};
use In::{Clean, Fail, Permit, Restart, Tick};
use janus_supervisor::RestartPolicy::OnFailure;
use janus_supervisor::machine::Checks;

/// Its group hears that the run is gone, and permits another.
#[test]
fn a_gated_service_waits_for_its_permit_after_a_restart() {
    for checks in [Checks::default(), NOTIFY] {
        let started = if checks == NOTIFY { "" } else { ", running" };
        let first = if checks == NOTIFY { "" } else { " | 1 running" };
        check_with(
            machine(t0()).checked(checks).gated(),
            OnFailure,
            &[
                (0, Restart),
                (0, Permit(1, 0)),
                (10, Restart),
                (15, Clean),
                (16, Restart),
                (17, Tick),
                (20, Permit(2, 0)),
            ],
            &[
                "0 Restart: wait",
                &format!("0 Permit(1, 0): run{first}"),
                "10 Restart: stop until 40",
                "15 Clean: wait | 1 cancelled after 15, backing off #0 0",
                "16 Restart: wait",
                "17 Tick: wait",
                &format!("20 Permit(2, 0): run | 2 restarting{started}"),
            ],
        );
    }
}

#[test]
fn a_gated_service_without_a_permit_forgets_its_failures_and_waits() {
    let t0 = t0();
    let mut machine = machine(t0).gated();
    let script = [
        (0, Permit(1, 0)),
        (5, Fail),
        (50, Restart),
        (51, Restart),
        (106, Tick),
    ];
    assert_eq!(
        played(&mut machine, t0, OnFailure, &script)[2..],
        [
            "50 Restart: wait | 1 reset",
            "51 Restart: wait",
            "106 Tick: wait",
        ]
    );
    assert!(machine.is_held());
    assert_eq!(machine.lifecycle().attempt(), 0);
    let script = [(110, Permit(2, 0)), (120, Fail)];
    assert_eq!(
        played(&mut machine, t0, OnFailure, &script),
        [
            "110 Permit(2, 0): run | 2 restarting, running",
            "120 Fail: wait | 2 failed with error boom after 10, backing off #1 100",
        ]
    );
}

/// With one, its backoff is over as anybody's.
#[test]
fn a_gated_service_with_a_permit_begins_at_once() {
    check_with(
        machine(t0()).gated(),
        OnFailure,
        &[
            (0, Permit(1, 0)),
            (5, Fail),
            (10, Permit(2, 0)),
            (20, Restart),
            (30, Fail),
            (31, Permit(3, 3)),
            (32, Restart),
        ],
        &[
            "0 Permit(1, 0): run | 1 running",
            "5 Fail: wait | 1 failed with error boom after 5, backing off #1 100",
            "10 Permit(2, 0): wait until 105",
            "20 Restart: run | 1 reset, 2 restarting, running",
            "30 Fail: wait | 2 failed with error boom after 10, backing off #1 100",
            // Taken back before it was used.
            "31 Permit(3, 3): wait",
            "32 Restart: wait | 2 reset",
        ],
    );
}
