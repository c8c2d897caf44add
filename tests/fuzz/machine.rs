//! [`ServiceMachine`] under any inputs at any times: it never refuses itself a move, and its events tell the whole
//! story.

use crate::ledger::Ledger;
use crate::letters::{choice, letter};
use crate::t0;
use bolero::check;
use janus_supervisor::machine::{
    Checks, Command, Ended, Happening, Input, Permit, Readiness, ServiceMachine, Step, Turn,
};
use janus_supervisor::{
    BackoffConfig, BackoffState, EventKind, Exit, Failure, FailureKind, Jitter, RestartPolicy,
    ServiceEvent, ServiceLifecycle,
};
use std::time::{Duration, Instant};

/// `s`tart, `c`lean, `f`ailed, `p`ermanent, `h`angs, `r`eady, `b`eat, `B`eat of the future, restart by `o`perator, `x`
/// stop, `X` stop at once, `a`bort, `g`one, `t`ick, `l`ost, `n`ext permit, `N` taken back, `0` all permits, `y`our
/// turn, `Y` put off. Then time: `.` a millisecond, `+` a minute, `>` to the deadline, `<` a second back, `!` a
/// century.
const ALPHABET: &[u8] = b"scfphrbBoxXagtlnN0yY.+><!";

#[test]
fn a_service_goes_by_the_table_whatever_comes_and_tells_everything() {
    check!(name = "machine")
        .with_iterations(10_000)
        .for_each(|bytes: &[u8]| History::new(bytes).play());
}

/// Settings, and what happens.
struct History<'a> {
    machine: ServiceMachine,
    policy: RestartPolicy,
    letters: std::iter::Copied<std::slice::Iter<'a, u8>>,
    now: Instant,
    permit: Permit,
    /// What the events have told.
    told: ServiceLifecycle,
    ledger: Ledger,
    in_run: bool,
    stopped: bool,
    finished: bool,
    seq: u64,
}

impl<'a> History<'a> {
    /// The first five bytes are the settings: `00000` has the plainest.
    fn new(bytes: &'a [u8]) -> Self {
        let mut letters = bytes.iter().copied();
        let now = t0();
        let policy = RestartPolicy::ALL[usize::from(choice(&mut letters, 3))];
        let kind = choice(&mut letters, 8);
        let backoff = backoff(choice(&mut letters, 6));
        let grace = choice(&mut letters, 3);
        let grace = [Duration::from_millis(5), Duration::ZERO, Duration::MAX][usize::from(grace)];
        let ledger = Ledger::new(backoff.clone());
        let backoff = BackoffState::new(backoff, choice(&mut letters, 10).into());
        let mut machine = ServiceMachine::new(now, "it", backoff, grace);
        if kind & 1 != 0 {
            machine = machine.gated();
        }
        if kind & 2 != 0 {
            machine = machine.limited();
        }
        if kind & 4 != 0 {
            machine = machine.checked(Checks {
                readiness: Readiness::Notify,
                start_timeout: Some(Duration::from_millis(3)),
                watchdog: Some(Duration::from_millis(4)),
            });
        }
        Self {
            machine,
            policy,
            letters,
            now,
            permit: Permit::default(),
            told: ServiceLifecycle::new(now, "it"),
            ledger,
            in_run: false,
            stopped: false,
            finished: false,
            seq: 0,
        }
    }

    fn play(mut self) {
        while let Some(byte) = self.letters.next() {
            match letter(ALPHABET, byte) {
                b'.' => self.pass(Duration::from_millis(1)),
                b'+' => self.pass(Duration::from_secs(60)),
                b'!' => self.pass(Duration::from_secs(100 * 365 * 24 * 60 * 60)),
                b'<' => {
                    let earlier = self.now.checked_sub(Duration::from_secs(1));
                    self.now = earlier.unwrap_or(self.now);
                }
                b'>' => self.now = self.machine.deadline().unwrap_or(self.now).max(self.now),
                letter => self.give(letter),
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now.checked_add(time).unwrap_or(self.now);
    }

    fn input(&mut self, letter: u8) -> Input {
        let failed = |kind| Exit::Failed(Failure::new(kind, "boom"));
        let exited = |exit| Input::Exited(Ended::judge(self.policy, exit));
        match letter {
            b's' => Input::Start,
            b'c' => exited(Exit::Clean),
            b'f' => exited(failed(FailureKind::Error)),
            b'h' => exited(failed(FailureKind::Hang)),
            b'p' => exited(Exit::Permanent(Failure::new(FailureKind::Error, "no"))),
            b'r' => Input::Ready,
            b'b' => Input::Heartbeat(self.now),
            b'B' => Input::Heartbeat(self.now + Duration::from_secs(9)),
            b'o' => Input::Restart,
            b'x' => Input::Stop { latest: None },
            b'X' => {
                let latest = Some(self.now);
                Input::Stop { latest }
            }
            b'a' => Input::Abort,
            b'g' => Input::Gone,
            b't' => Input::Tick,
            b'n' => {
                self.permit.go += 1;
                Input::Permit(self.permit)
            }
            b'N' => {
                self.permit.halt = self.permit.go;
                Input::Permit(self.permit)
            }
            b'0' => Input::Permit(Permit::OPEN),
            b'y' => Input::Turn(Turn::Go),
            b'Y' => Input::Turn(Turn::At(self.now + Duration::from_millis(2))),
            _ => Input::Lost,
        }
    }

    fn give(&mut self, letter: u8) {
        let input = self.input(letter);
        let step = self.machine.handle(self.now, input).unwrap();
        assert_eq!(step.deadline, self.machine.deadline());
        assert_eq!(step.first_seq, self.seq);
        let ended = step.happened.iter().filter(|what| ends_a_run(what)).count();
        assert!(ended <= usize::from(self.in_run));
        self.in_run &= ended == 0;
        self.stopped |= matches!(letter, b'x' | b'X' | b'l');
        self.follow(&step);
        self.ledger.book(self.now, &step.happened);
        self.replay(step);
    }

    /// Invariants 1 and 3 of `machine/service.rs`, and that an end is final.
    fn follow(&mut self, step: &Step) {
        if self.finished {
            assert_eq!(step.command, Command::Finish);
            assert!(step.happened.is_empty() && step.deadline.is_none());
        }
        match step.command {
            Command::Run => {
                assert!(!self.in_run && !self.stopped);
                self.in_run = true;
            }
            Command::Stop | Command::Abort | Command::Fail(_) => assert!(self.in_run),
            Command::Ask { .. } => assert!(!self.in_run && !self.stopped),
            Command::Wait => {}
            Command::Finish => self.finished = true,
        }
    }

    /// Whoever has read all events knows what the machine shows.
    fn replay(&mut self, step: Step) {
        for happened in step.happened {
            let name = "it".into();
            let event = ServiceEvent::new(0, name, happened.run, self.seq, self.now, happened.kind);
            self.seq += 1;
            self.told.apply(&event).unwrap();
            assert_eq!(event.run, self.told.start_count());
        }
        let shown = self.machine.lifecycle();
        assert_eq!(self.told.snapshot(self.now), shown.snapshot(self.now));
    }
}

fn ends_a_run(happened: &Happening) -> bool {
    matches!(happened.kind, EventKind::RunEnded { .. })
}

fn backoff(which: u8) -> BackoffConfig {
    let ms = Duration::from_millis;
    let short = BackoffConfig::new(ms(2), ms(8))
        .with_cooldown(ms(5))
        .with_circuit_breaker(3, ms(100));
    match which {
        0 => short.with_jitter(Jitter::None),
        1 => short.with_half_open_after(ms(4)),
        2 => short
            .with_jitter(Jitter::Decorrelated)
            .without_circuit_breaker(),
        3 => BackoffConfig::new(Duration::ZERO, Duration::ZERO).with_circuit_breaker(1, ms(1)),
        4 => BackoffConfig::new(Duration::MAX, Duration::MAX)
            .with_jitter(Jitter::None)
            .with_cooldown(Duration::MAX),
        _ => BackoffConfig::default(),
    }
}
