//! A history that fails -> a smaller one that fails in the same way.
//!
//! Greedy: takes away whatever can be taken away, the large things first, until nothing more can.

use crate::script::{Backoff, Common, End, History, Node, Run};
use janus_supervisor::{AutoShutdown, Jitter};

/// Takes away from `history` for as long as `fails` says that it still does, at most so many tries.
pub(crate) fn shrink(
    mut history: History,
    mut tries: usize,
    mut fails: impl FnMut(&History) -> bool,
) -> History {
    loop {
        let mut has_shrunk = false;
        for smaller in SMALLER {
            let mut place = 0;
            while let Some(candidate) = smaller(&history, place) {
                if tries == 0 {
                    return history;
                }
                tries -= 1;
                if fails(&candidate) {
                    history = candidate;
                    has_shrunk = true;
                } else {
                    place += 1;
                }
            }
        }
        if !has_shrunk {
            return history;
        }
    }
}

/// The history with one thing less; `None` when there are not so many.
type Smaller = fn(&History, usize) -> Option<History>;

const SMALLER: [Smaller; 7] = [
    without_step,
    without_child,
    without_run,
    with_simpler_run,
    with_simpler_settings,
    with_simpler_fleet,
    earlier,
];

fn without_step(history: &History, place: usize) -> Option<History> {
    let mut smaller = history.clone();
    (place < smaller.steps.len()).then(|| smaller.steps.remove(place))?;
    Some(smaller)
}

fn without_child(history: &History, place: usize) -> Option<History> {
    let mut smaller = history.clone();
    let mut left = place;
    let mut trees = smaller.trees.iter_mut();
    trees
        .any(|tree| take_child(tree, &mut left))
        .then_some(smaller)
}

/// Takes out the child of this number, counted over the whole tree.
fn take_child(node: &mut Node, left: &mut usize) -> bool {
    let Node::Group(group) = node else {
        return false;
    };
    if *left < group.children.len() {
        group.children.remove(*left);
        return true;
    }
    *left -= group.children.len();
    let mut children = group.children.iter_mut();
    children.any(|child| take_child(child, left))
}

fn without_run(history: &History, place: usize) -> Option<History> {
    let mut smaller = history.clone();
    let mut left = place;
    let mut is_done = false;
    for_each(&mut smaller, &mut |node| {
        let Node::Service(spec) = node else {
            return;
        };
        if !is_done && left < spec.runs.len() {
            spec.runs.remove(left);
            is_done = true;
        } else if !is_done {
            left -= spec.runs.len();
        }
    });
    is_done.then_some(smaller)
}

fn with_simpler_run(history: &History, place: usize) -> Option<History> {
    let simpler: [fn(&mut Run); 6] = [
        |run| run.drop_panics = false,
        |run| run.cancels_itself = None,
        |run| run.ready = Some(0),
        |run| run.stops = Some((0, End::Ok)),
        |run| run.ends = None,
        |run| run.beats = None,
    ];
    edited(history, place, |node, edit| {
        let Node::Service(spec) = node else {
            return;
        };
        for run in &mut spec.runs {
            for simplify in simpler {
                edit(run, simplify);
            }
        }
    })
}

fn with_simpler_settings(history: &History, place: usize) -> Option<History> {
    let simpler: [fn(&mut Common); 8] = [
        |common| common.after.clear(),
        |common| common.grace = None,
        |common| common.backoff.jitter = Jitter::None,
        |common| common.backoff.initial = None,
        |common| common.backoff.half_open = None,
        |common| without_breaker(&mut common.backoff),
        |common| common.backoff.cooldown = 60_000,
        |common| common.significant = false,
    ];
    edited(history, place, |node, edit| {
        for simplify in simpler {
            edit(node.common_mut(), simplify);
        }
    })
}

const fn without_breaker(backoff: &mut Backoff) {
    (backoff.breaker, backoff.half_open) = (None, None);
}

/// Applies the edit of this number that changes anything.
fn edited<T: Clone + PartialEq>(
    history: &History,
    place: usize,
    mut all: impl FnMut(&mut Node, &mut dyn FnMut(&mut T, fn(&mut T))),
) -> Option<History> {
    let mut smaller = history.clone();
    let mut left = place;
    let mut is_done = false;
    for_each(&mut smaller, &mut |node| {
        all(node, &mut |it, simplify| {
            if is_done {
                return;
            }
            let mut simpler = it.clone();
            simplify(&mut simpler);
            if simpler == *it {
                return;
            }
            if left == 0 {
                *it = simpler;
                is_done = true;
            } else {
                left -= 1;
            }
        });
    });
    is_done.then_some(smaller)
}

fn with_simpler_fleet(history: &History, place: usize) -> Option<History> {
    let mut smaller = history.clone();
    let fleet = &mut smaller.fleet;
    match place {
        0 => fleet.intensity = None,
        1 => fleet.auto_shutdown = AutoShutdown::Never,
        2 => fleet.observer_panics = None,
        3 => fleet.is_run = false,
        _ => return None,
    }
    // What changes nothing would be taken for a success for ever.
    (format!("{:?}", smaller.fleet) != format!("{:?}", history.fleet)).then_some(smaller)
}

/// Half the time until the end.
fn earlier(history: &History, place: usize) -> Option<History> {
    let last = history.steps.last().map_or(0, |step| step.at);
    let end = last.midpoint(history.end.0);
    let is_earlier = place == 0 && end < history.end.0;
    let mut smaller = history.clone();
    smaller.end.0 = end;
    is_earlier.then_some(smaller)
}

fn for_each(history: &mut History, act: &mut impl FnMut(&mut Node)) {
    fn visit(node: &mut Node, act: &mut impl FnMut(&mut Node)) {
        act(node);
        if let Node::Group(group) = node {
            for child in &mut group.children {
                visit(child, act);
            }
        }
    }
    for tree in &mut history.trees {
        visit(tree, act);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate;
    use crate::script::Command;

    /// What fails for one step alone shrinks to that step.
    #[test]
    fn what_does_not_matter_is_taken_away() {
        let restarts = |history: &History| {
            let is_restart = |command: &Command| format!("{command:?}").contains("Restart");
            history.steps.iter().any(|step| is_restart(&step.command))
        };
        let mut seeds = (0..).map(generate::history);
        let history = seeds.find(|it| restarts(it) && it.steps.len() > 5).unwrap();
        let small = shrink(history, 100_000, restarts);
        assert_eq!(small.steps.len(), 1);
        assert!(small.trees.iter().all(|tree| tree.children().is_empty()));
        assert!(small.to_string().lines().count() < 5, "{small}");
    }
}
