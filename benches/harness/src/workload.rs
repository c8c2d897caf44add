//! What there is to do.

use std::fmt;
use std::str::FromStr;

/// What the services of a fleet do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Workload {
    /// They wait to be stopped. Measures to spawn and start them, to list them, to shut them down, and what each keeps
    /// on the heap.
    Idle,
    /// Each fails so many times, at once when it is started. Measures restarts.
    Storm,
    /// The same by panics.
    Panics,
    /// A storm with and without somebody who lists all services all the time, on a thread of their own.
    Reader,
    /// One fails now and then, so many times, among idle ones. Measures from the failure to the next run.
    Latency,
    /// They fail all the time, while a sibling sleeps for five milliseconds, so many times. Measures how late it wakes.
    Timer,
}

/// On which runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// Tokio's on the current thread.
    Current,
    /// Tokio's on two threads.
    Multi,
}

/// What a program is to do.
#[derive(Debug, Clone, Copy)]
pub struct Job {
    /// What the services do.
    pub workload: Workload,
    /// On which runtime.
    pub engine: Engine,
    /// How many of them there are.
    pub services: usize,
    /// How often.
    pub times: u32,
}

impl Job {
    /// Reads the arguments of a program.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn read(args: &[String]) -> Result<Self, String> {
        let [workload, engine, services, times] = args else {
            return Err("usage: <workload> <current|multi> <services> <times>".to_owned());
        };
        let number = |text: &str| format!("`{text}` is not a number");
        Ok(Self {
            workload: workload.parse()?,
            engine: engine.parse()?,
            services: services.parse().map_err(|_| number(services))?,
            times: times.parse().map_err(|_| number(times))?,
        })
    }
}

impl Workload {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Idle,
        Self::Storm,
        Self::Panics,
        Self::Reader,
        Self::Latency,
        Self::Timer,
    ];
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Idle => "idle",
            Self::Storm => "storm",
            Self::Panics => "panics",
            Self::Reader => "reader",
            Self::Latency => "latency",
            Self::Timer => "timer",
        })
    }
}

impl FromStr for Workload {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut all = Self::ALL.into_iter();
        let found = all.find(|workload| workload.to_string() == text);
        found.ok_or_else(|| format!("there is no workload `{text}`"))
    }
}

impl FromStr for Engine {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "current" => Ok(Self::Current),
            "multi" => Ok(Self::Multi),
            _ => Err(format!("`{text}` is neither `current` nor `multi`")),
        }
    }
}
