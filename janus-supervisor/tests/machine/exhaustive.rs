//! Every history of up to seven inputs that matter, under every policy; of a gated or a checked service, which there
//! are more of, up to six, and of one that is both, up to five.
//!
//! An input that changes nothing leads nowhere: the machine is as it was, letter by letter, so whatever follows has
//! been tried without it. All others are followed up, and time passes in two ways: by one millisecond, and up to the
//! deadline.

use super::audit::{Audited, Known};
use super::checks::STRICT;
use super::{In, ms, t0};
use janus_supervisor::machine::{Permit, ServiceMachine};
use janus_supervisor::{BackoffConfig, BackoffState, FailureKind, Jitter, RestartPolicy};
use std::time::{Duration, Instant};

/// Delays of 2 ms and 4 ms, a cooldown of 5 ms, a breaker that opens on the third failure.
fn machine(t0: Instant) -> ServiceMachine {
    let config = BackoffConfig::new(ms(2), ms(4))
        .with_jitter(Jitter::None)
        .with_cooldown(ms(5))
        .with_circuit_breaker(3, ms(100));
    ServiceMachine::new(t0, "it", BackoffState::new(config, 1), ms(6))
}

/// One letter of the alphabet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Letter {
    Now(In),
    /// A tick, a millisecond later.
    Soon,
    /// A tick when something is due, or much later.
    Due,
    /// A permit for another run.
    Go,
    /// The last permit is taken back.
    Halt,
    /// Both at once: the last one is taken back, and there is another.
    Renew,
    /// The last permit again.
    Again,
    /// The one before the last.
    Outdated,
}

const ALPHABET: [Letter; 12] = [
    Letter::Now(In::Start),
    Letter::Now(In::Clean),
    Letter::Now(In::Fail),
    Letter::Now(In::Permanent),
    Letter::Now(In::Stop),
    Letter::Now(In::StopWithin(3)),
    Letter::Now(In::Abort),
    Letter::Now(In::Gone),
    Letter::Now(In::Lost),
    Letter::Now(In::Restart),
    Letter::Soon,
    Letter::Due,
];

/// For a gated service, on top of that.
const PERMITS: [Letter; 5] = [
    Letter::Go,
    Letter::Halt,
    Letter::Renew,
    Letter::Again,
    Letter::Outdated,
];

/// For a checked service.
const SIGNS: [Letter; 5] = [
    Letter::Now(In::Ready),
    Letter::Now(In::Beat),
    Letter::Now(In::BeatAgo(1)),
    Letter::Now(In::BeatAhead(20)),
    Letter::Now(In::Failed(FailureKind::Hang)),
];

/// What is explored.
#[derive(Debug, Clone, Copy)]
struct Subject {
    policy: RestartPolicy,
    is_gated: bool,
    is_checked: bool,
    t0: Instant,
}

impl Subject {
    fn audited(self) -> Audited {
        let (policy, t0) = (self.policy, self.t0);
        let mut machine = machine(t0);
        if self.is_checked {
            machine = machine.checked(STRICT);
        }
        if self.is_gated {
            machine = machine.gated();
        }
        let mut audited = Audited::new(machine, policy, t0);
        audited.permit = self.is_gated.then(Permit::default);
        audited
    }

    const fn length(self) -> usize {
        match (self.is_gated, self.is_checked) {
            (false, false) => 7,
            (true, false) | (false, true) => 6,
            (true, true) => 5,
        }
    }

    fn alphabet(self) -> impl Iterator<Item = Letter> {
        let permits = PERMITS.into_iter().filter(move |_| self.is_gated);
        let signs = SIGNS.into_iter().filter(move |_| self.is_checked);
        ALPHABET.into_iter().chain(permits).chain(signs)
    }
}

impl Audited {
    /// Gives it one letter. Answers whether that has led anywhere, or what is wrong.
    fn take(&mut self, letter: Letter) -> Result<bool, String> {
        let (later, input) = match letter {
            Letter::Now(input) => (self.now, input),
            Letter::Soon => (self.now + ms(1), In::Tick),
            Letter::Due => {
                let due = self.machine.deadline().unwrap_or(self.now + ms(10));
                (due.max(self.now), In::Tick)
            }
            permit => (self.now, self.permit_of(permit)),
        };
        let moved = later > self.now;
        self.now = later;
        let acted = self.give(input)?;
        Ok(acted || (moved && self.known != Known::Over))
    }

    /// The permit that this letter stands for.
    fn permit_of(&self, letter: Letter) -> In {
        let Permit { go, halt } = self.permit.unwrap_or_default();
        match letter {
            Letter::Go => In::Permit(go + 1, halt),
            Letter::Halt => In::Permit(go, go),
            Letter::Renew => In::Permit(go + 1, go),
            Letter::Outdated => In::Permit(self.outdated.go, self.outdated.halt),
            _ => In::Permit(go, halt),
        }
    }
}

/// Replays a history.
fn replayed(subject: Subject, history: &[Letter]) -> Result<Audited, String> {
    let mut audited = subject.audited();
    audited.replaying = true;
    for letter in history {
        audited.take(*letter)?;
    }
    audited.replaying = false;
    Ok(audited)
}

/// Tries every letter after this history, and follows up those that lead anywhere. Counts the histories.
fn explore(subject: Subject, history: &mut Vec<Letter>, tried: &mut u64) -> Result<(), String> {
    // Invariant 5: a tick before the deadline changes nothing, however little before.
    let mut early = replayed(subject, history)?;
    let deadline = early.machine.deadline();
    let before = deadline.and_then(|at| at.checked_sub(Duration::from_nanos(1)));
    // A run that has halted may be followed by another at once.
    if let Some(before) = before.filter(|_| deadline > Some(early.now)) {
        early.now = before.max(early.now);
        if early.give(In::Tick)? {
            return Err("invariant 5: something happened before the deadline".into());
        }
    }
    for letter in subject.alphabet() {
        let mut audited = replayed(subject, history)?;
        history.push(letter);
        *tried += 1;
        if audited.take(letter)? && audited.known != Known::Over && history.len() < subject.length()
        {
            explore(subject, history, tried)?;
        }
        history.pop();
    }
    Ok(())
}

fn every_short_history(is_gated: bool, is_checked: bool) {
    let t0 = t0();
    for policy in RestartPolicy::ALL {
        let subject = Subject {
            policy,
            is_gated,
            is_checked,
            t0,
        };
        let (mut history, mut tried) = (Vec::new(), 0);
        let explored = explore(subject, &mut history, &mut tried);
        assert_eq!(explored, Ok(()), "{policy}: {history:?}");
        assert!(tried > 10_000, "{policy}: {tried} histories");
    }
}

/// Invariants 1 to 5, and what the lifecycle promises.
#[test]
fn every_short_history_keeps_the_invariants() {
    every_short_history(false, false);
}

/// All six.
#[test]
fn every_short_history_of_a_gated_service_keeps_the_invariants() {
    every_short_history(true, false);
}

/// Invariants 1 to 5, with readiness and watchdog.
#[test]
fn every_short_history_of_a_checked_service_keeps_the_invariants() {
    every_short_history(false, true);
}

#[test]
fn every_short_history_of_a_gated_and_checked_service_keeps_the_invariants() {
    every_short_history(true, true);
}

/// When all is over, nothing is left to happen, whatever comes, and however often.
#[test]
fn finish_is_final() {
    let t0 = t0();
    let start = Letter::Now(In::Start);
    let stop = Letter::Now(In::Stop);
    for end in [
        &[stop][..],
        &[Letter::Now(In::Lost)],
        &[start, Letter::Now(In::Permanent)],
        &[start, stop, Letter::Now(In::Clean)],
        &[start, stop, Letter::Due, Letter::Now(In::Gone)],
    ] {
        for policy in RestartPolicy::ALL {
            let subject = Subject {
                policy,
                is_gated: false,
                is_checked: false,
                t0,
            };
            let mut over = replayed(subject, end).unwrap();
            assert_eq!(over.known, Known::Over);
            for _ in 0..3 {
                for letter in ALPHABET {
                    assert_eq!(over.take(letter), Ok(false), "{end:?} {letter:?}");
                    assert_eq!(over.machine.deadline(), None);
                }
            }
        }
    }
}

/// B22: with a clock that goes backwards at every other input, all of it still holds but for what the clock decides.
#[test]
fn a_clock_that_goes_backwards_breaks_no_invariant() {
    const INPUTS: [In; 11] = [
        In::Start,
        In::Clean,
        In::Fail,
        In::Permanent,
        In::Restart,
        In::Stop,
        In::StopWithin(3),
        In::Abort,
        In::Gone,
        In::Tick,
        In::Lost,
    ];
    fn explore(subject: Subject, inputs: &[In], history: &mut Vec<In>) -> Result<(), String> {
        for input in inputs {
            history.push(*input);
            let mut audited = subject.audited();
            for (i, input) in history.iter().enumerate() {
                let back = if i % 2 == 0 { ms(0) } else { ms(50) };
                audited.now = subject.t0 + ms(7 * i as u64) - back;
                audited.give(*input)?;
            }
            if audited.known != Known::Over && history.len() < 4 {
                explore(subject, inputs, history)?;
            }
            history.pop();
        }
        Ok(())
    }
    let signs = [In::Ready, In::Beat, In::BeatAgo(1)];
    for policy in RestartPolicy::ALL {
        for (is_checked, inputs) in [
            (false, INPUTS.to_vec()),
            (true, [&INPUTS[..], &signs].concat()),
        ] {
            let subject = Subject {
                policy,
                is_gated: false,
                is_checked,
                t0: t0(),
            };
            let mut history = Vec::new();
            let explored = explore(subject, &inputs, &mut history);
            assert_eq!(explored, Ok(()), "{policy}: {history:?}");
        }
    }
}
