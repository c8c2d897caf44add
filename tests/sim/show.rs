//! A history in words, for whoever has to find out what went wrong in it.

use crate::script::{Backoff, Command, Common, GroupSpec, History, Node, Run, ServiceSpec};
use std::fmt::{self, Display, Formatter, Write as _};

impl Display for History {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let fleet = &self.fleet;
        write!(f, "a supervisor, jitter seed {}", fleet.seed)?;
        write!(f, ", {} ms to shut down", fleet.shutdown_timeout)?;
        write!(f, " and {} ms to abort", fleet.abort_timeout)?;
        if let Some((most, within)) = fleet.intensity {
            write!(f, ", {most} restarts in {within} ms")?;
        }
        write!(f, ", auto shutdown {}", fleet.auto_shutdown)?;
        if let Some(every) = fleet.observer_panics {
            write!(f, ", an observer panics at every {every}. event")?;
        }
        if fleet.is_run {
            write!(f, ", run until its shutdown")?;
        }
        for (number, tree) in self.trees.iter().enumerate() {
            let spawns = |command: &Command| *command == Command::Spawn(number);
            if self.steps.iter().any(|step| spawns(&step.command)) {
                write!(f, "\ntree {number}:")?;
                show(f, tree, 1)?;
            }
        }
        for step in &self.steps {
            write!(f, "\nat {} ms: ", step.at)?;
            match &step.command {
                Command::Spawn(tree) => write!(f, "spawn tree {tree}")?,
                Command::Ask(wish, path) => write!(f, "{wish:?} {path}")?,
                Command::AskAndLeave(wish, path) => write!(f, "{wish:?} {path}, and go away")?,
                Command::Forget(path) => write!(f, "remove_service {path}")?,
                Command::ForgetAllTerminated => f.write_str("remove_terminated")?,
                Command::Shutdown(trigger) => write!(f, "shutdown by {trigger:?}")?,
            }
        }
        let (at, trigger) = self.end;
        write!(f, "\nat {at} ms: shutdown by {trigger:?}, at the latest")
    }
}

fn show(f: &mut Formatter<'_>, node: &Node, level: usize) -> fmt::Result {
    write!(f, "\n{:1$}", "", 2 * level)?;
    match node {
        Node::Service(spec) => {
            write!(f, "service {}", service(spec))?;
            for (n, run) in spec.runs.iter().enumerate() {
                let width = 2 * (level + 1);
                write!(f, "\n{:width$}run {}: {}", "", n + 1, script(run))?;
            }
            Ok(())
        }
        Node::Group(spec) => {
            write!(f, "group {}", group(spec))?;
            let mut children = spec.children.iter();
            children.try_for_each(|child| show(f, child, level + 1))
        }
    }
}

/// Words with commas between them.
struct Words(String);

impl Words {
    fn add(&mut self, word: fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let _written = write!(self.0, ", {word}");
    }
}

fn common(common: &Common) -> Words {
    let mut words = Words(common.name.clone());
    words.add(format_args!("{}", common.policy));
    words.add(format_args!("backoff [{}]", backoff(&common.backoff)));
    if let Some(grace) = common.grace {
        words.add(format_args!("grace {grace}"));
    }
    if common.significant {
        words.add(format_args!("significant"));
    }
    if !common.after.is_empty() {
        words.add(format_args!("after {}", common.after.join(" ")));
    }
    words
}

fn service(spec: &ServiceSpec) -> String {
    let mut words = common(&spec.common);
    if spec.notify {
        words.add(format_args!("says when it is ready"));
    }
    if let Some(timeout) = spec.start_timeout {
        words.add(format_args!("within {timeout}"));
    }
    if let Some(period) = spec.watchdog {
        words.add(format_args!("watchdog {period}"));
    }
    if spec.ephemeral {
        words.add(format_args!("ephemeral"));
    }
    words.0
}

fn group(spec: &GroupSpec) -> String {
    let mut words = common(&spec.common);
    let (most, within) = spec.intensity;
    words.add(format_args!("{}", spec.strategy));
    words.add(format_args!("{most} restarts in {within}"));
    words.add(format_args!("auto shutdown {}", spec.auto_shutdown));
    words.0
}

fn backoff(backoff: &Backoff) -> String {
    let mut words = Words(format!("{} to {}", backoff.base, backoff.max));
    words.add(format_args!("jitter {:?}", backoff.jitter));
    words.add(format_args!("cooldown {}", backoff.cooldown));
    if let Some((most, window)) = backoff.breaker {
        words.add(format_args!("breaker {most} in {window}"));
    }
    if let Some(delay) = backoff.half_open {
        words.add(format_args!("half open after {delay}"));
    }
    if let Some(delay) = backoff.initial {
        words.add(format_args!("first {delay}"));
    }
    words.0
}

fn script(run: &Run) -> String {
    if run.call_panics {
        return "panics when it is called".to_owned();
    }
    let mut words = Words(match run.ready {
        Some(after) => format!("ready after {after}"),
        None => "never ready".to_owned(),
    });
    if let Some((every, times)) = run.beats {
        words.add(format_args!("beats {times} times, every {every}"));
    }
    if let Some(after) = run.cancels_itself {
        words.add(format_args!("cancels its token after {after}"));
    }
    if let Some((after, end)) = run.ends {
        words.add(format_args!("ends with {end:?} after {after}"));
    }
    match run.stops {
        Some((after, end)) => words.add(format_args!("when told, {end:?} after {after}")),
        None => words.add(format_args!("ignores what it is told")),
    }
    if run.drop_panics {
        words.add(format_args!("panics in its drop"));
    }
    words.0
}
