//! An auditor of a service's machine, who knows its inputs, its answers and the invariants.

use super::{In, give, ms};
use janus_supervisor::machine::{Command, Permit, Readiness, ServiceMachine, Step};
use janus_supervisor::{EventKind, FailureKind, RestartPolicy, RunOutcome, ServicePhase};
use std::time::Instant;

/// What is known of the service from the answers alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    New,
    /// In a run that has not said that it is ready.
    Starting,
    Up,
    /// The run has failed without an end of its own, and is being dropped.
    Failing,
    /// Told to end the run, and then to wait for another permit.
    Halting,
    Waiting,
    Stopping,
    Dropped,
    /// Dropped while it was halting.
    DroppedHalting,
    Over,
}

/// What an input must do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Must {
    Act,
    /// It changes nothing: invariant 4.
    Ignore,
    /// It may only bring the deadline forward.
    Shorten,
    /// It may be remembered, and does nothing now.
    Note,
}

impl Known {
    fn in_run(self) -> bool {
        !matches!(self, Self::New | Self::Waiting | Self::Over)
    }

    /// Whether it has been told to end the run.
    fn is_asked(self) -> bool {
        self.in_run() && !matches!(self, Self::Starting | Self::Up | Self::Failing)
    }

    pub(super) fn is_halting(self) -> bool {
        matches!(self, Self::Halting | Self::DroppedHalting)
    }
}

fn is_stop(input: In) -> bool {
    matches!(input, In::Stop | In::StopWithin(_))
}

fn is_exit(input: In) -> bool {
    matches!(
        input,
        In::Clean | In::Fail | In::Panic | In::Permanent | In::Failed(_)
    )
}

/// A machine, and an auditor of its answers that knows the invariants and nothing of its insides.
pub(crate) struct Audited {
    pub(crate) machine: ServiceMachine,
    policy: RestartPolicy,
    pub(crate) now: Instant,
    pub(crate) known: Known,
    /// What it has been allowed. `None`: it needs no permit.
    pub(crate) permit: Option<Permit>,
    /// The permit before that.
    pub(crate) outdated: Permit,
    /// The permit of the last run.
    used: u64,
    phase: ServicePhase,
    /// The run in progress has been told as running.
    told_running: bool,
    /// When the run in progress has to be ready, or has to have shown again that it is alive.
    pub(super) check_at: Option<Instant>,
    /// Somebody wants the next run at once.
    hurried: bool,
    /// There are failures that a recovery would clear.
    pub(super) to_forget: bool,
    begun: u32,
    ended: u32,
    failures: u32,
    events: u64,
    /// All this has been tried before: no need to compare the machine letter by letter.
    pub(crate) replaying: bool,
}

impl Audited {
    pub(crate) fn new(machine: ServiceMachine, policy: RestartPolicy, t0: Instant) -> Self {
        Self {
            machine,
            policy,
            now: t0,
            known: Known::New,
            permit: None,
            outdated: Permit::default(),
            used: 0,
            phase: ServicePhase::Starting,
            told_running: false,
            check_at: None,
            hurried: false,
            to_forget: false,
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

    pub(super) fn due(&self) -> bool {
        self.machine.deadline().is_some_and(|at| at <= self.now)
    }

    /// Whether another run may begin.
    pub(super) fn may_begin(&self) -> bool {
        self.permit
            .is_none_or(|permit| permit.go > self.used && permit.go > permit.halt)
    }

    /// Takes note of a permit. They only grow. Answers whether it is another one.
    fn permit(&mut self, input: In) -> bool {
        let (In::Permit(go, halt), Some(before)) = (input, self.permit) else {
            return false;
        };
        let (go, halt) = (go.max(before.go), halt.max(before.halt));
        let after = Permit { go, halt };
        if after == before {
            return false;
        }
        self.permit = Some(after);
        self.outdated = before;
        true
    }

    fn must(&mut self, input: In) -> Must {
        let is_another = self.permit(input);
        let act = |really| if really { Must::Act } else { Must::Ignore };
        let retry = self.machine.lifecycle().retry();
        let in_time = retry.is_some_and(|retry| retry.at <= self.now);
        let halts = self.permit.is_some_and(|permit| permit.halt >= self.used);
        match (self.known, input) {
            (Known::Over | Known::Stopping, In::Permit(..)) => Must::Ignore,
            (known, In::Permit(..)) if is_another => match known {
                Known::New if self.may_begin() => Must::Act,
                Known::Waiting if self.may_begin() && (in_time || self.hurried) => Must::Act,
                Known::Starting | Known::Up if halts => Must::Act,
                _ => Must::Note,
            },
            (Known::New, In::Start) => act(self.may_begin()),
            (Known::Over | Known::Dropped, _) if is_stop(input) => Must::Ignore,
            (Known::Stopping, _) if is_stop(input) => Must::Shorten,
            (_, _) if is_stop(input) => Must::Act,
            (known, _) if is_exit(input) => act(known.in_run()),
            // Whoever looks at the clock in time may start it, for whatever reason it looks.
            (Known::Waiting, In::Permit(..)) => act(self.due()),
            (known, In::Ready) => act(known == Known::Starting),
            (Known::Up, In::Beat | In::BeatAgo(_) | In::BeatAhead(_)) => {
                match self.machine.checks().watchdog {
                    Some(_) => Must::Note,
                    None => Must::Ignore,
                }
            }
            (Known::Waiting, In::Restart) => {
                let acts = self.may_begin() || self.to_forget;
                let is_new = !std::mem::replace(&mut self.hurried, true);
                match (acts, is_new) {
                    (true, _) => Must::Act,
                    (false, true) => Must::Note,
                    (false, false) => Must::Ignore,
                }
            }
            (known, In::Restart) => act(matches!(known, Known::Starting | Known::Up)),
            (known, In::Abort) => act(known == Known::Stopping),
            (known, In::Gone) => act(matches!(known, Known::Dropped | Known::DroppedHalting)),
            (known, In::Lost) => act(known != Known::Over),
            (Known::New | Known::Failing | Known::Over, In::Tick) => Must::Ignore,
            (Known::Dropped | Known::DroppedHalting, In::Tick) => Must::Ignore,
            (_, In::Tick) => act(self.due()),
            _ => Must::Ignore,
        }
    }

    /// Gives it one input, now. Answers whether anything has changed, or what is wrong.
    pub(crate) fn give(&mut self, input: In) -> Result<bool, String> {
        let before = self.letters();
        let deadline = self.machine.deadline();
        let error = self.machine.lifecycle().last_error();
        let must = self.must(input);
        let step = give(&mut self.machine, self.now, self.policy, input)
            .map_err(|error| format!("invariant 1 of the lifecycle: {error}"))?;
        let changed = self.letters() != before;
        let idle = match self.known {
            Known::Over => Command::Finish,
            _ => Command::Wait,
        };
        let acted = !step.happened.is_empty() || step.command != idle;
        match must {
            Must::Act if !acted => return Err("nothing was done".into()),
            Must::Ignore if acted || changed => return Err("invariant 4: not ignored".into()),
            Must::Note if acted => return Err("invariant 6: not only taken note of".into()),
            Must::Shorten => self.is_shortened(&step, deadline, input)?,
            Must::Act | Must::Ignore | Must::Note => {}
        }
        let noted = self.permit.is_none_or(|it| it == self.machine.permit());
        if matches!(input, In::Permit(..)) && must != Must::Ignore && !noted {
            return Err("invariant 6: not taken note of".into());
        }
        if self.known.is_halting() && self.machine.lifecycle().last_error() != error {
            return Err("an error is kept of a run that was to halt".into());
        }
        if step.deadline != self.machine.deadline() {
            return Err("invariant 5: two deadlines".into());
        }
        if step.first_seq != self.events {
            return Err("a gap in the sequence".into());
        }
        self.hurried &= step.command != Command::Run;
        self.audit(&step, input)?;
        self.is_checked(input)?;
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
        let mut run = self.begun.max(1);
        for happening in &step.happened {
            self.events += 1;
            let kind = &happening.kind;
            match kind {
                EventKind::Restarting => run = self.begun + 1,
                EventKind::Running => {
                    let notifies = self.machine.checks().readiness == Readiness::Notify;
                    if self.told_running || notifies != (was == Known::Starting) {
                        return Err("told as running, and is not".into());
                    }
                    self.told_running = true;
                }
                EventKind::Recovered => {
                    if !self.to_forget {
                        return Err("recovered from nothing".into());
                    }
                    if was == Known::Starting || input == In::Restart {
                        return Err("recovered, and was not even ready, or was reset".into());
                    }
                    self.to_forget = false;
                }
                EventKind::Reset => {
                    if !self.to_forget || input != In::Restart {
                        return Err("reset for nothing".into());
                    }
                    self.to_forget = false;
                }
                EventKind::RunEnded { outcome, .. } => {
                    self.ended += 1;
                    self.told_running = false;
                    self.failures += u32::from(matches!(outcome, RunOutcome::Failed(_)));
                    self.to_forget |= matches!(outcome, RunOutcome::Failed(_));
                    if self.ended > self.begun {
                        return Err("invariant 2: ended twice".into());
                    }
                    let cancelled = matches!(outcome, RunOutcome::Cancelled(_));
                    if cancelled != (was.is_asked() && !matches!(input, In::Gone | In::Lost)) {
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
            if happening.run != run {
                return Err("the number of another run".into());
            }
        }
        self.know(step.command, input)?;
        self.is_restarted(was, input)?;
        if was == Known::Over && self.known != Known::Over {
            return Err("invariant 1: something after the end".into());
        }
        if is_stop(input) && !was.in_run() && self.known != Known::Over {
            return Err("invariant 3: stopped, and not at once".into());
        }
        let stops = matches!(self.known, Known::Stopping | Known::Dropped);
        if is_stop(input) && was.in_run() && !stops {
            return Err("invariant 3: not stopping".into());
        }
        if matches!(was, Known::Stopping | Known::Dropped) && self.known == Known::Waiting {
            return Err("invariant 3: another run is to come".into());
        }
        if was.is_halting() && self.known == Known::Over && input != In::Lost {
            return Err("a halt has ended the service".into());
        }
        let is_held = matches!(self.known, Known::New | Known::Waiting) && !self.may_begin();
        if self.machine.is_held() != is_held {
            return Err("invariant 6: held or not".into());
        }
        if self.known == Known::Waiting && is_held != self.machine.deadline().is_none() {
            return Err("invariant 6: waits for what will not come, or for nothing".into());
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

    /// Where it stands after this answer.
    fn know(&mut self, command: Command, input: In) -> Result<(), String> {
        let was = self.known;
        let halts = (was == Known::Halting && !is_stop(input))
            || matches!(input, In::Permit(..) | In::Restart);
        let is_due = self.check_at.is_some_and(|at| at <= self.now) && input == In::Tick;
        self.known = match command {
            Command::Run if was.in_run() || was == Known::Over => {
                return Err("invariant 1: a second run".into());
            }
            Command::Run if !self.may_begin() => {
                return Err("invariant 6: a run without a permit".into());
            }
            Command::Run => {
                self.used = self.permit.map_or(0, |permit| permit.go);
                self.begun += 1;
                self.check_at = self.first_check();
                self.running()
            }
            Command::Ask { .. } => return Err("asked, and is not limited".into()),
            Command::Fail(kind) => match (was, kind) {
                (Known::Starting, FailureKind::StartTimeout) if is_due => Known::Failing,
                (Known::Up, FailureKind::Hang) if is_due => Known::Failing,
                _ => return Err(format!("failed with {kind} without a reason")),
            },
            Command::Stop if !matches!(was, Known::Starting | Known::Up) => {
                return Err("asked to end, and is ending".into());
            }
            Command::Stop if halts => Known::Halting,
            Command::Stop => Known::Stopping,
            Command::Abort if halts => Known::DroppedHalting,
            Command::Abort => Known::Dropped,
            Command::Finish => Known::Over,
            Command::Wait if self.phase == ServicePhase::BackingOff => Known::Waiting,
            Command::Wait if self.phase == ServicePhase::Stopping => match was {
                Known::Halting => Known::Stopping,
                Known::DroppedHalting | Known::Failing => Known::Dropped,
                _ => was,
            },
            Command::Wait if self.told_running && was == Known::Starting => {
                // From here on it has to be alive.
                self.check_at = None;
                Known::Up
            }
            Command::Wait => was,
        };
        Ok(())
    }
}
