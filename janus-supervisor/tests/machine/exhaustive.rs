//! Every history of up to [`LENGTH`] inputs that matter, under every policy.
//!
//! An input that changes nothing leads nowhere: the machine is as it was, letter by letter, so whatever follows has been tried
//! without it. All others are followed up, and time passes in two ways: by one millisecond, and up to the deadline.

use super::{In, give, ms, t0};
use janus_supervisor::machine::{Command, ServiceMachine, Step};
use janus_supervisor::{
    BackoffConfig, BackoffState, EventKind, Jitter, RestartPolicy, RunOutcome, ServicePhase,
};
use std::time::{Duration, Instant};

const LENGTH: usize = 7;

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
}

const ALPHABET: [Letter; 11] = [
    Letter::Now(In::Start),
    Letter::Now(In::Clean),
    Letter::Now(In::Fail),
    Letter::Now(In::Permanent),
    Letter::Now(In::Stop),
    Letter::Now(In::StopWithin(3)),
    Letter::Now(In::Abort),
    Letter::Now(In::Gone),
    Letter::Now(In::Lost),
    Letter::Soon,
    Letter::Due,
];

/// What is known of the service from the answers alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    New,
    Up,
    Waiting,
    Stopping,
    Dropped,
    Over,
}

impl Known {
    fn in_run(self) -> bool {
        matches!(self, Self::Up | Self::Stopping | Self::Dropped)
    }

    /// Whether the input must do something. `None`: it may only bring the deadline forward.
    fn must_act(self, input: In, due: bool) -> Option<bool> {
        Some(match (self, input) {
            (Self::New, In::Start)
            | (Self::New | Self::Up | Self::Waiting, In::Stop | In::StopWithin(_))
            | (
                Self::Up | Self::Stopping | Self::Dropped,
                In::Clean | In::Fail | In::Panic | In::Permanent,
            )
            | (Self::Stopping, In::Abort)
            | (Self::Dropped, In::Gone)
            | (Self::New | Self::Up | Self::Waiting | Self::Stopping | Self::Dropped, In::Lost) => {
                true
            }
            (Self::Up | Self::Waiting | Self::Stopping, In::Tick) => due,
            (Self::Stopping, In::Stop | In::StopWithin(_)) => return None,
            (_, In::Start | In::Stop | In::StopWithin(_) | In::Abort | In::Gone)
            | (_, In::Clean | In::Fail | In::Panic | In::Permanent | In::Tick | In::Lost) => false,
        })
    }
}

/// A machine, and an auditor of its answers that knows the invariants and nothing of its insides.
struct Audited {
    machine: ServiceMachine,
    policy: RestartPolicy,
    now: Instant,
    known: Known,
    phase: ServicePhase,
    begun: u32,
    ended: u32,
    failures: u32,
    events: u64,
    /// All this has been tried before: no need to compare the machine letter by letter.
    replaying: bool,
}

impl Audited {
    fn new(policy: RestartPolicy, t0: Instant) -> Self {
        Self {
            machine: machine(t0),
            policy,
            now: t0,
            known: Known::New,
            phase: ServicePhase::Starting,
            begun: 0,
            ended: 0,
            failures: 0,
            events: 0,
            replaying: false,
        }
    }

    fn letters(&self) -> Option<String> {
        (!self.replaying).then(|| format!("{:?}", self.machine))
    }

    fn due(&self) -> bool {
        self.machine.deadline().is_some_and(|at| at <= self.now)
    }

    /// Gives it one letter. Answers whether that has led anywhere, or what is wrong.
    fn take(&mut self, letter: Letter) -> Result<bool, String> {
        let (later, input) = match letter {
            Letter::Now(input) => (self.now, input),
            Letter::Soon => (self.now + ms(1), In::Tick),
            Letter::Due => {
                let due = self.machine.deadline().unwrap_or(self.now + ms(10));
                (due.max(self.now), In::Tick)
            }
        };
        let moved = later > self.now;
        self.now = later;
        let acted = self.give(input)?;
        Ok(acted || (moved && self.known != Known::Over))
    }

    /// Gives it one input, now. Answers whether anything has changed, or what is wrong.
    fn give(&mut self, input: In) -> Result<bool, String> {
        let before = self.letters();
        let deadline = self.machine.deadline();
        let must_act = self.known.must_act(input, self.due());
        let step = give(&mut self.machine, self.now, self.policy, input)
            .map_err(|error| format!("invariant 1 of the lifecycle: {error}"))?;
        let changed = self.letters() != before;
        let idle = match self.known {
            Known::Over => Command::Finish,
            _ => Command::Wait,
        };
        let acted = !step.happened.is_empty() || step.command != idle;
        match must_act {
            Some(true) if !acted => return Err("nothing was done".into()),
            Some(false) if acted || changed => return Err("invariant 4: not ignored".into()),
            None => self.is_shortened(&step, deadline, input)?,
            Some(_) => {}
        }
        if step.deadline != self.machine.deadline() {
            return Err("invariant 5: two deadlines".into());
        }
        if step.first_seq != self.events {
            return Err("a gap in the sequence".into());
        }
        self.audit(&step, input)?;
        Ok(changed)
    }

    /// A second stop brings the end of the grace forward, never back.
    fn is_shortened(&self, step: &Step, before: Option<Instant>, input: In) -> Result<(), String> {
        let latest = match input {
            In::StopWithin(left) => Some(self.now + ms(left)),
            _ => None,
        };
        let expected = [before, latest].into_iter().flatten().min();
        let right = if expected.is_some_and(|at| at <= self.now) {
            step.command == Command::Abort
        } else {
            step.command == Command::Wait && step.deadline == expected
        };
        if right && step.happened.is_empty() {
            Ok(())
        } else {
            Err(format!("a second stop: {step:?}"))
        }
    }

    fn audit(&mut self, step: &Step, input: In) -> Result<(), String> {
        let was = self.known;
        for happening in &step.happened {
            self.events += 1;
            let kind = &happening.kind;
            match kind {
                EventKind::Running => self.begun += 1,
                EventKind::RunEnded { outcome, .. } => {
                    self.ended += 1;
                    self.failures += u32::from(matches!(outcome, RunOutcome::Failed(_)));
                    if self.ended > self.begun {
                        return Err("invariant 2: ended twice".into());
                    }
                    let asked = matches!(was, Known::Stopping | Known::Dropped);
                    let cancelled = matches!(outcome, RunOutcome::Cancelled(_));
                    if cancelled != (asked && !matches!(input, In::Gone | In::Lost)) {
                        return Err(format!("judged wrongly: {outcome:?}"));
                    }
                }
                _ => {}
            }
            if let Some(next) = kind.phase() {
                if !self.phase.can_become(next) {
                    return Err(format!("{} does not become {next}", self.phase));
                }
                let settled = next == ServicePhase::Stopping || next == ServicePhase::Running;
                if self.begun > self.ended && !settled {
                    return Err("invariant 2: a transition before the end of the run".into());
                }
                self.phase = next;
            }
            if happening.run != self.machine.lifecycle().start_count() {
                return Err("the number of another run".into());
            }
        }
        self.known = match step.command {
            Command::Run if was.in_run() || was == Known::Over => {
                return Err("invariant 1: a second run".into());
            }
            Command::Run => Known::Up,
            Command::Stop => Known::Stopping,
            Command::Abort => Known::Dropped,
            Command::Finish => Known::Over,
            Command::Wait if self.phase == ServicePhase::BackingOff => Known::Waiting,
            Command::Wait => was,
        };
        if was == Known::Over && self.known != Known::Over {
            return Err("invariant 1: something after the end".into());
        }
        let stop = matches!(input, In::Stop | In::StopWithin(_));
        if stop && !was.in_run() && self.known != Known::Over {
            return Err("invariant 3: stopped, and not at once".into());
        }
        if stop && was == Known::Up && !matches!(self.known, Known::Stopping | Known::Dropped) {
            return Err("invariant 3: not stopping".into());
        }
        if matches!(was, Known::Stopping | Known::Dropped) && self.known == Known::Waiting {
            return Err("invariant 3: another run is to come".into());
        }

        let lifecycle = self.machine.lifecycle();
        let in_run = self.begun - self.ended == 1;
        if in_run != self.known.in_run() || self.begun - self.ended > 1 {
            return Err("invariant 2: begun and not ended".into());
        }
        if lifecycle.phase() != self.phase
            || self.phase.is_terminal() != (self.known == Known::Over)
            || lifecycle.start_count() != self.begun.max(1)
            || lifecycle.total_failures() != self.failures
        {
            return Err(format!("the lifecycle says otherwise: {lifecycle:?}"));
        }
        Ok(())
    }
}

/// Replays a history.
fn replayed(policy: RestartPolicy, t0: Instant, history: &[Letter]) -> Result<Audited, String> {
    let mut audited = Audited::new(policy, t0);
    audited.replaying = true;
    for letter in history {
        audited.take(*letter)?;
    }
    audited.replaying = false;
    Ok(audited)
}

/// Tries every letter after this history, and follows up those that lead anywhere. Counts the histories.
fn explore(
    policy: RestartPolicy,
    t0: Instant,
    history: &mut Vec<Letter>,
    tried: &mut u64,
) -> Result<(), String> {
    // Invariant 5: a tick before the deadline changes nothing, however little before.
    let mut early = replayed(policy, t0, history)?;
    let deadline = early.machine.deadline();
    if let Some(before) = deadline.and_then(|at| at.checked_sub(Duration::from_nanos(1))) {
        early.now = before.max(early.now);
        if early.give(In::Tick)? {
            return Err("invariant 5: something happened before the deadline".into());
        }
    }
    for letter in ALPHABET {
        let mut audited = replayed(policy, t0, history)?;
        history.push(letter);
        *tried += 1;
        if audited.take(letter)? && audited.known != Known::Over && history.len() < LENGTH {
            explore(policy, t0, history, tried)?;
        }
        history.pop();
    }
    Ok(())
}

/// All five invariants, and what the lifecycle promises.
#[test]
fn every_short_history_keeps_the_invariants() {
    let t0 = t0();
    for policy in RestartPolicy::ALL {
        let (mut history, mut tried) = (Vec::new(), 0);
        let explored = explore(policy, t0, &mut history, &mut tried);
        assert_eq!(explored, Ok(()), "{policy}: {history:?}");
        assert!(tried > 10_000, "{policy}: {tried} histories");
    }
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
            let mut over = replayed(policy, t0, end).unwrap();
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
    fn explore(policy: RestartPolicy, t0: Instant, history: &mut Vec<In>) -> Result<(), String> {
        const INPUTS: [In; 10] = [
            In::Start,
            In::Clean,
            In::Fail,
            In::Permanent,
            In::Stop,
            In::StopWithin(3),
            In::Abort,
            In::Gone,
            In::Tick,
            In::Lost,
        ];
        for input in INPUTS {
            history.push(input);
            let mut audited = Audited::new(policy, t0);
            for (i, input) in history.iter().enumerate() {
                let back = if i % 2 == 0 { ms(0) } else { ms(50) };
                audited.now = t0 + ms(7 * i as u64) - back;
                audited.give(*input)?;
            }
            if audited.known != Known::Over && history.len() < 4 {
                explore(policy, t0, history)?;
            }
            history.pop();
        }
        Ok(())
    }
    for policy in RestartPolicy::ALL {
        let mut history = Vec::new();
        let explored = explore(policy, t0(), &mut history);
        assert_eq!(explored, Ok(()), "{policy}: {history:?}");
    }
}
