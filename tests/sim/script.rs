//! What a history is: a fleet, what its services do in each of their runs, and what is asked of them when.
//!
//! A history is plain data. It can be printed, made smaller, and run again. All times are milliseconds.

use janus_supervisor::{AutoShutdown, BackoffConfig, Jitter, RestartPolicy, Strategy};
use std::time::Duration;

/// Milliseconds.
pub(crate) type Ms = u64;

/// Milliseconds as a duration.
pub(crate) const fn ms(n: Ms) -> Duration {
    Duration::from_millis(n)
}

/// All that happens to one supervisor.
#[derive(Debug, Clone)]
pub(crate) struct History {
    pub(crate) fleet: Fleet,
    /// What is spawned by [`Command::Spawn`], by number.
    pub(crate) trees: Vec<Node>,
    /// In order of time.
    pub(crate) steps: Vec<Step>,
    /// When the shutdown begins at the latest, and how.
    pub(crate) end: (Ms, Trigger),
}

/// The settings of the supervisor.
#[derive(Debug, Clone)]
pub(crate) struct Fleet {
    pub(crate) seed: u64,
    pub(crate) shutdown_timeout: Ms,
    pub(crate) abort_timeout: Ms,
    pub(crate) intensity: Option<(u32, Ms)>,
    pub(crate) auto_shutdown: AutoShutdown,
    /// Every so many events an observer panics.
    pub(crate) observer_panics: Option<u64>,
    /// Whether somebody waits in `run_until_shutdown` from the beginning.
    pub(crate) is_run: bool,
}

/// A service or a group.
#[derive(Debug, Clone)]
pub(crate) enum Node {
    Service(ServiceSpec),
    Group(GroupSpec),
}

/// What services and groups have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Common {
    pub(crate) name: String,
    pub(crate) policy: RestartPolicy,
    pub(crate) backoff: Backoff,
    /// None: the supervisor's shutdown timeout for a service, no bound for a group.
    pub(crate) grace: Option<Ms>,
    pub(crate) significant: bool,
    /// Only for the supervisor's own.
    pub(crate) after: Vec<String>,
}

#[derive(Debug, Clone)]
pub(crate) struct ServiceSpec {
    pub(crate) common: Common,
    /// It has to say that it is ready; perhaps within a time.
    pub(crate) notify: bool,
    pub(crate) start_timeout: Option<Ms>,
    pub(crate) watchdog: Option<Ms>,
    pub(crate) ephemeral: bool,
    /// What each run does. Those after the last are [`Run::steady`].
    pub(crate) runs: Vec<Run>,
}

#[derive(Debug, Clone)]
pub(crate) struct GroupSpec {
    pub(crate) common: Common,
    pub(crate) strategy: Strategy,
    pub(crate) intensity: (u32, Ms),
    pub(crate) auto_shutdown: AutoShutdown,
    pub(crate) children: Vec<Node>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Backoff {
    pub(crate) base: Ms,
    pub(crate) max: Ms,
    pub(crate) cooldown: Ms,
    pub(crate) breaker: Option<(u32, Ms)>,
    pub(crate) half_open: Option<Ms>,
    pub(crate) initial: Option<Ms>,
    pub(crate) jitter: Jitter,
}

/// One run of a scripted service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Run {
    /// Says that it is ready after so long, if it ever does.
    pub(crate) ready: Option<Ms>,
    /// Beats so often, and so many times.
    pub(crate) beats: Option<(Ms, u32)>,
    /// Cancels its own token after so long.
    pub(crate) cancels_itself: Option<Ms>,
    /// Ends by itself after so long, and how.
    pub(crate) ends: Option<(Ms, End)>,
    /// What it does when it is told to end: so long after, and how. None: it ignores that.
    pub(crate) stops: Option<(Ms, End)>,
    /// Its future panics when it is dropped.
    pub(crate) drop_panics: bool,
    /// There is no future: the call of `run` panics.
    pub(crate) call_panics: bool,
}

impl Run {
    /// Ready at once, beats for ever, runs until it is told to end.
    pub(crate) const fn steady() -> Self {
        Self {
            ready: Some(0),
            beats: None,
            cancels_itself: None,
            ends: None,
            stops: Some((0, End::Ok)),
            drop_panics: false,
            call_panics: false,
        }
    }
}

/// How a run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Ok,
    Fail,
    FailForGood,
    Panic,
}

#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) at: Ms,
    pub(crate) command: Command,
}

/// What somebody wants. Services are named by their paths; there may be none of that name at that time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    /// Of [`History::trees`].
    Spawn(usize),
    Ask(Wish, String),
    /// The same, but whoever asked goes away at once.
    AskAndLeave(Wish, String),
    /// Forgets a service that has terminated.
    Forget(String),
    ForgetAllTerminated,
    Shutdown(Trigger),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    Stop,
    Restart,
    Remove,
    /// Wants nothing but to know when it is ready.
    WaitReady,
    /// Or gone.
    WaitEnd,
}

/// What begins a shutdown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trigger {
    /// `trigger_shutdown`.
    Call,
    /// The supervisor's token is cancelled.
    Token,
    /// The last supervisor is dropped.
    Drop,
}

impl Node {
    pub(crate) const fn common(&self) -> &Common {
        match self {
            Self::Service(service) => &service.common,
            Self::Group(group) => &group.common,
        }
    }

    pub(crate) const fn common_mut(&mut self) -> &mut Common {
        match self {
            Self::Service(service) => &mut service.common,
            Self::Group(group) => &mut group.common,
        }
    }

    /// Those inside it.
    pub(crate) fn children(&self) -> &[Self] {
        match self {
            Self::Service(_) => &[],
            Self::Group(group) => &group.children,
        }
    }

    /// The paths of itself and all in it.
    pub(crate) fn paths(&self) -> Vec<String> {
        let name = &self.common().name;
        let inside = self.children().iter().flat_map(Self::paths);
        let inside = inside.map(|path| format!("{name}/{path}"));
        std::iter::once(name.clone()).chain(inside).collect()
    }
}

impl Backoff {
    /// The supervisor's way to say it.
    pub(crate) fn config(&self) -> BackoffConfig {
        let mut config = BackoffConfig::new(ms(self.base), ms(self.max))
            .with_cooldown(ms(self.cooldown))
            .with_jitter(self.jitter);
        config = match self.breaker {
            None => config.without_circuit_breaker(),
            Some((max_retries, window)) => config.with_circuit_breaker(max_retries, ms(window)),
        };
        if let Some(delay) = self.initial {
            config = config.with_initial_delay(ms(delay));
        }
        if let Some(delay) = self.half_open {
            config = config.with_half_open_after(ms(delay));
        }
        config
    }
}
