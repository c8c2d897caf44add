//! What happens to a fleet, and when.

use janus_tests::{Dice, ms, secs};
use rustix::process::Signal;
use std::fmt;
use std::time::Duration;

/// A grace that nobody waits for: only a second signal ends it.
pub(crate) const ENDLESS: Duration = secs(3600);

/// When the first signal comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum First {
    /// So long after the process was started, whatever it has come to: in the beginning it has no handlers yet.
    AfterStart(Duration),
    /// So long after it has said where it listens, which is when it has handlers, and before all services are spawned.
    AfterTitle(Duration),
}

/// When the second signal comes, if it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Second {
    None,
    /// So long after the first.
    After(Duration),
    /// So long after the fleet has said that it has seen the first. Two that come at one time are one.
    AfterFirstSeen(Duration),
}

/// One run.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// From which all else follows.
    pub(crate) seed: u64,
    /// A service that ignores cancellation is among the others.
    pub(crate) stubborn: bool,
    /// Nobody crashes the server.
    pub(crate) calm: bool,
    /// The end is printed as JSON.
    pub(crate) json: bool,
    /// How long services may take to stop.
    pub(crate) grace: Duration,
    /// Times at which the process is stopped, from its start on, and for how long.
    pub(crate) pauses: Vec<(Duration, Duration)>,
    /// A pause of this length begins together with the first signal, which is seen only afterwards.
    pub(crate) pause_at_signal: Option<Duration>,
    /// SIGTERM or SIGINT.
    pub(crate) signals: [Signal; 2],
    pub(crate) first: First,
    pub(crate) second: Second,
}

impl Plan {
    /// The plan of this seed.
    pub(crate) fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let stubborn = dice.one_in(3);
        let first = match dice.below(8) {
            0 => First::AfterStart(dice.up_to(ms(10))),
            1 => First::AfterStart(dice.up_to(ms(50))),
            2 => First::AfterTitle(Duration::ZERO),
            3 => First::AfterTitle(dice.up_to(ms(10))),
            4 | 5 => First::AfterTitle(dice.up_to(ms(500))),
            _ => First::AfterTitle(dice.up_to(secs(4))),
        };
        let second = match dice.below(6) {
            0 | 1 => Second::After(dice.up_to(secs(1))),
            // Of a signal that comes before the handlers there is nothing to see.
            2 | 3 if matches!(first, First::AfterTitle(_)) => {
                Second::AfterFirstSeen(dice.up_to(ms(300)))
            }
            _ => Second::None,
        };
        let endless = stubborn && matches!(second, Second::AfterFirstSeen(_));
        let grace = match dice.below(3) {
            _ if endless => ENDLESS,
            0 => ms(500),
            1 => secs(1),
            _ => secs(2),
        };
        let pauses = (0..dice.below(4))
            .map(|_| (dice.up_to(secs(4)), Self::pause(&mut dice)))
            .collect();
        Self {
            seed,
            stubborn,
            calm: dice.one_in(3),
            json: dice.one_in(3),
            grace,
            pauses,
            pause_at_signal: dice.one_in(5).then(|| Self::pause(&mut dice)),
            signals: [Self::signal(&mut dice), Self::signal(&mut dice)],
            first,
            second,
        }
    }

    /// Mostly short; now and then longer than any timer of the fleet.
    fn pause(dice: &mut Dice) -> Duration {
        match dice.below(4) {
            0 => ms(500) + dice.up_to(ms(2_500)),
            _ => ms(1) + dice.up_to(ms(200)),
        }
    }

    fn signal(dice: &mut Dice) -> Signal {
        if dice.one_in(4) {
            Signal::INT
        } else {
            Signal::TERM
        }
    }

    /// The arguments for the fleet.
    pub(crate) fn args(&self) -> Vec<String> {
        let mut args = vec![
            format!("--grace={}ms", self.grace.as_millis()),
            format!("--seed={}", self.seed),
        ];
        let flags = [
            (self.stubborn, "--stubborn"),
            (self.calm, "--calm"),
            (self.json, "--json"),
        ];
        let set = flags.into_iter().filter(|(set, _)| *set);
        args.extend(set.map(|(_, flag)| flag.to_owned()));
        args
    }
}

/// A line that says all of it.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "seed {}: fleet {}, {} {:?}",
            self.seed,
            self.args().join(" "),
            name(self.signals[0]),
            self.first
        )?;
        if self.second != Second::None {
            write!(f, ", then {} {:?}", name(self.signals[1]), self.second)?;
        }
        if let Some(pause) = self.pause_at_signal {
            write!(f, ", stopped for {pause:.0?} at the first signal")?;
        }
        for (at, pause) in &self.pauses {
            write!(f, ", stopped for {pause:.0?} at {at:.0?}")?;
        }
        Ok(())
    }
}

/// As the fleet's report calls it.
pub(crate) fn name(signal: Signal) -> &'static str {
    if signal == Signal::INT {
        "SIGINT"
    } else {
        "SIGTERM"
    }
}
