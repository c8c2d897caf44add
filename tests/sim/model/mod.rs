//! The reference model: what the design promises, checked against all that was seen of one history.
//!
//! It is written from the design and knows nothing of how Janus works: it reads the trace line by line, keeps its own
//! books (phases, failures, windows, who waits for whom), and says of each line whether it may stand there. When the
//! clock moves on, it says what should have happened by then. Where several things happen in one moment, and their
//! order is open, it takes any; in time it is exact.

mod asks;
mod delay;
mod ends;
mod events;
mod facts;
mod family;
mod groups;
mod life;
mod rest;
mod root;
mod stops;

use crate::script::{History, Node, Trigger};
use crate::trace::{At, Entry, Line, Spawned};
use asks::Asked;
use life::Life;
use root::Root;
use std::collections::BTreeMap;
use std::fmt;

/// What must not be, as the model sees it, in words.
pub(crate) type Verdict = Result<(), String>;

/// The first line of a trace that cannot stand where it stands, and why.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    /// The number of the line, from 0.
    pub(crate) line: usize,
    pub(crate) what: String,
}

impl Fault {
    /// In which way it fails, whoever it is and whenever.
    pub(crate) fn kind(&self) -> String {
        let (_, what) = self.what.rsplit_once("): ").unwrap_or(("", &self.what));
        let words = what.split(|it: char| !it.is_alphabetic());
        words.filter(|word| word.len() > 2).take(6).collect()
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

/// Reads the whole trace of a history.
///
/// # Errors
/// The first [`Fault`].
pub(crate) fn check(history: &History, lines: &[Line]) -> Result<(), Fault> {
    let mut model = Model::new(history);
    for (number, line) in lines.iter().enumerate() {
        model
            .read(line)
            .map_err(|what| Fault { line: number, what })?;
    }
    let over = lines.last().map(|line| &line.entry);
    if !matches!(over, Some(Entry::Over)) {
        let what = "it has no end".to_owned();
        let line = lines.len().saturating_sub(1);
        return Err(Fault { line, what });
    }
    Ok(())
}

struct Model<'h> {
    history: &'h History,
    now: At,
    lives: BTreeMap<u64, Life<'h>>,
    /// Those that have not ended.
    alive: Vec<u64>,
    /// The latest of each path.
    by_path: BTreeMap<String, u64>,
    /// The tree that is being spawned, and what has to come of it.
    spawning: Option<(&'h Node, Vec<Spawned>)>,
    asked: BTreeMap<usize, Asked>,
    root: Root,
}

impl<'h> Model<'h> {
    fn new(history: &'h History) -> Self {
        Self {
            history,
            now: At::ZERO,
            lives: BTreeMap::new(),
            alive: Vec::new(),
            by_path: BTreeMap::new(),
            spawning: None,
            asked: BTreeMap::new(),
            root: Root::default(),
        }
    }

    fn read(&mut self, line: &Line) -> Verdict {
        if line.at > self.now {
            self.rest(line.at)?;
            self.now = line.at;
        }
        match &line.entry {
            Entry::Event(event) => self.event(event),
            Entry::Fact(path, fact) => self.fact(path, *fact),
            Entry::Spawning(tree) => self.begin_spawn(*tree),
            Entry::Spawned(spawned) => self.end_spawn(spawned),
            Entry::Asked(no, wish, id) => self.asked(Some(*no), *wish, *id),
            Entry::AskedAndLeft(wish, id) => self.asked(None, *wish, *id),
            Entry::Answered(no, answer) => self.answered(*no, answer),
            Entry::Forgotten(path, forgotten) => self.forgotten(path, *forgotten),
            Entry::Shutdown(trigger) => {
                self.triggered(*trigger);
                Ok(())
            }
            Entry::Drained(report) => self.drained(report),
            Entry::RunReturned(cause) => self.returned(*cause),
            Entry::Over => self.over(),
            Entry::Fault(what) => Err(what.clone()),
        }
    }

    /// A service that there is.
    fn life(&self, id: u64) -> Result<&Life<'h>, String> {
        let life = self.lives.get(&id);
        life.ok_or_else(|| format!("there is no service #{id}"))
    }

    fn life_mut(&mut self, id: u64) -> Result<&mut Life<'h>, String> {
        let life = self.lives.get_mut(&id);
        life.ok_or_else(|| format!("there is no service #{id}"))
    }

    /// The latest service of this path.
    fn known_by(&self, path: &str) -> Result<u64, String> {
        let id = self.by_path.get(path).copied();
        id.ok_or_else(|| format!("there is no service {path}"))
    }

    fn triggered(&mut self, trigger: Trigger) {
        let is_heard = match trigger {
            Trigger::Call => true,
            // A task has to be woken for it.
            Trigger::Token => false,
            // As long as somebody else has a hold on the supervisor, this one is not the last.
            Trigger::Drop => !self.history.fleet.is_run && !self.root.has_waiters,
        };
        self.root.has_waiters = trigger != Trigger::Drop;
        self.begin_shutdown(trigger.into(), is_heard);
    }
}
