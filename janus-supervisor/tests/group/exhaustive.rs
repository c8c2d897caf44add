//! Every history of a small group: all that its children, an operator and time can do to it, in every order, until
//! nothing new comes up.
//!
//! A state is the machine, letter by letter, and the world around it. At each one, what is stale is tried, and the rest
//! of the way: with and without a stop, to the end.

use super::world::{Plan, World};
use super::{BOTH, In, PLAIN, SIGNIFICANT, TEMPORARY, give, t0};
use janus_supervisor::machine::{AutoShutdown, ChildRules, GroupCommand, GroupMachine, Strategy};
use std::collections::{HashSet, VecDeque};
use std::fmt::Write;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Instant;

const STRATEGIES: [Strategy; 3] = [
    Strategy::OneForOne,
    Strategy::OneForAll,
    Strategy::RestForOne,
];

/// How far it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Extent {
    states: usize,
    steps: usize,
    /// The longest of the shortest ways to a state.
    depth: usize,
}

/// One state.
#[derive(Clone)]
struct Here {
    machine: GroupMachine,
    world: World,
    depth: usize,
    /// Where the way here is written down.
    trail: usize,
}

struct Explorer<'a> {
    plan: &'a Plan,
    t0: Instant,
    seen: HashSet<u64>,
    queue: VecDeque<Here>,
    /// From where, and by what. `None`: time has passed, and nobody has told the group.
    trail: Vec<(usize, Option<In>)>,
    letters: String,
    extent: Extent,
}

impl<'a> Explorer<'a> {
    fn new(plan: &'a Plan) -> Self {
        Self {
            plan,
            t0: t0(),
            seen: HashSet::new(),
            queue: VecDeque::new(),
            trail: Vec::new(),
            letters: String::new(),
            extent: Extent::default(),
        }
    }

    /// A state in one number.
    fn key(&mut self, here: &Here) -> u64 {
        self.letters.clear();
        let written = write!(self.letters, "{:?}", here.machine);
        let mut hasher = DefaultHasher::new();
        (written.is_ok(), &self.letters, &here.world).hash(&mut hasher);
        hasher.finish()
    }

    /// Goes on from here by one step, later, if nobody has been there.
    fn go(&mut self, mut there: Here, by: Option<In>) {
        let key = self.key(&there);
        if self.seen.insert(key) {
            self.trail.push((there.trail, by));
            there.trail = self.trail.len() - 1;
            there.depth += 1;
            self.extent.depth = self.extent.depth.max(there.depth);
            self.queue.push_back(there);
        }
    }

    /// Everything that can be reached, or what is wrong, and the way to it.
    fn explore(mut self) -> Result<Extent, String> {
        let first = Here {
            machine: self.plan.machine(),
            world: World::default(),
            depth: 0,
            trail: 0,
        };
        self.go(first, None);
        while let Some(here) = self.queue.pop_front() {
            self.extent.states += 1;
            let looked = self.look(&here);
            looked.map_err(|wrong| self.report(here.trail, &wrong))?;
            let mut late = here.clone();
            if late.world.wait(self.t0, &late.machine) {
                self.go(late, None);
            }
            for input in here.world.inputs(self.plan, &here.machine) {
                let mut there = here.clone();
                let taken = there.take(self.plan, self.t0, input);
                taken.map_err(|wrong| self.report(here.trail, &wrong))?;
                self.extent.steps += 1;
                self.go(there, Some(input));
            }
        }
        Ok(self.extent)
    }

    /// All that can be said of one state.
    fn look(&mut self, here: &Here) -> Result<(), String> {
        if !here.world.is_overdue(self.t0, &here.machine) {
            self.is_deaf(here)?;
        }
        self.settles(here, None)?;
        self.settles(here, Some(In::Stop))
    }

    /// Invariant 5.
    fn is_deaf(&mut self, here: &Here) -> Result<(), String> {
        let (now, mut there) = (here.world.instant(self.t0), here.clone());
        for input in here.world.stale(self.plan, &here.machine) {
            let command = give(&mut there.machine, now, input);
            if command != GroupCommand::Wait {
                return Err(format!(
                    "5: {input:?} is stale, and not ignored: {command:?}"
                ));
            }
        }
        if self.key(&there) != self.key(here) {
            return Err("5: what is stale has changed something".into());
        }
        Ok(())
    }

    /// From here, if nothing fails any more, the group finishes if it has to, and otherwise comes up.
    fn settles(&self, here: &Here, first: Option<In>) -> Result<(), String> {
        let (mut there, mut inputs) = (here.clone(), Vec::new());
        let smooth = |there: &Here| there.world.smooth(self.plan, &there.machine);
        let mut next = first.or_else(|| smooth(&there));
        while let Some(input) = next {
            inputs.push(input);
            let taken = there.take(self.plan, self.t0, input);
            taken.map_err(|wrong| format!("{wrong}, after {inputs:?}"))?;
            // Each child down and up, and in between a tick.
            if inputs.len() > 2 * self.plan.children.len() + 2 {
                return Err(format!("it takes too long: {inputs:?}"));
            }
            next = smooth(&there);
        }
        let settled = there.world.is_settled(self.plan);
        settled.map_err(|wrong| format!("{wrong}, after {inputs:?}"))?;
        if first.is_some() && !there.world.is_over() {
            return Err(format!("3: stopped, and not over: {inputs:?}"));
        }
        Ok(())
    }

    fn report(&self, mut at: usize, wrong: &str) -> String {
        let mut way = Vec::new();
        while at != 0 {
            let (from, by) = self.trail[at];
            way.push(by);
            at = from;
        }
        way.reverse();
        format!("{:?}: {way:?}: {wrong}", self.plan)
    }
}

impl Here {
    fn take(&mut self, plan: &Plan, t0: Instant, input: In) -> Result<(), String> {
        let taken = self.world.take(plan, t0, &mut self.machine, input);
        taken.map_err(|wrong| format!("{input:?} is answered wrongly: {wrong}"))
    }
}

/// Explores all these groups, and answers how far that went in all.
fn explored(plans: impl IntoIterator<Item = Plan>) -> Extent {
    let mut all = Extent::default();
    for plan in plans {
        let explored = Explorer::new(&plan).explore();
        assert_eq!(explored.as_ref().err(), None);
        let extent = explored.unwrap_or_default();
        all.states += extent.states;
        all.steps += extent.steps;
        all.depth = all.depth.max(extent.depth);
    }
    all
}

fn plan(strategy: Strategy, max_restarts: u32, children: Vec<ChildRules>) -> Plan {
    Plan {
        strategy,
        auto_shutdown: AutoShutdown::Never,
        max_restarts,
        children,
        by_hand: true,
    }
}

/// All groups of so many children, each of which is one of these.
fn mixes(kinds: &[ChildRules], children: usize) -> Vec<Vec<ChildRules>> {
    let mut mixes = vec![Vec::new()];
    for _ in 0..children {
        let longer = |mix: &Vec<ChildRules>| {
            let mix = mix.clone();
            let with = move |kind: &ChildRules| [&mix[..], &[*kind]].concat();
            kinds.iter().map(with).collect::<Vec<_>>()
        };
        mixes = mixes.iter().flat_map(longer).collect();
    }
    mixes
}

/// Up to four children that are restarted and do not matter, and up to two restarts.
fn every_history_of_alike_children(strategy: Strategy) -> Extent {
    let sizes = (0..=4).flat_map(|size| (0..=2).map(move |max| (size, max)));
    explored(sizes.map(|(size, max)| plan(strategy, max, vec![PLAIN; size])))
}

#[test]
fn every_history_of_one_for_one_keeps_the_invariants() {
    let extent = every_history_of_alike_children(Strategy::OneForOne);
    assert!(extent.states > 8_900 && extent.steps > 60_000, "{extent:?}");
}

#[test]
fn every_history_of_one_for_all_keeps_the_invariants() {
    let extent = every_history_of_alike_children(Strategy::OneForAll);
    assert!(
        extent.states > 30_000 && extent.steps > 200_000,
        "{extent:?}"
    );
}

#[test]
fn every_history_of_rest_for_one_keeps_the_invariants() {
    let extent = every_history_of_alike_children(Strategy::RestForOne);
    assert!(
        extent.states > 30_000 && extent.steps > 200_000,
        "{extent:?}"
    );
}

/// Two children of these kinds and up to two restarts, and three of those and up to one. Of three kinds there are so
/// many that their operator restarts only two.
fn every_history_of_a_mix(rule: AutoShutdown, two: &[ChildRules], three: &[ChildRules]) -> Extent {
    let mut plans = Vec::new();
    for strategy in STRATEGIES {
        for (kinds, size, max_restarts) in [(two, 2, 2), (three, 3, 1)] {
            plans.extend(mixes(kinds, size).into_iter().map(|children| Plan {
                auto_shutdown: rule,
                by_hand: size == 2 || kinds.len() == 2,
                ..plan(strategy, max_restarts, children)
            }));
        }
    }
    explored(plans)
}

/// Some matter, some are never restarted, and some are both.
fn every_history_with_significant_children(rule: AutoShutdown) {
    let (all, three) = (
        [PLAIN, TEMPORARY, SIGNIFICANT, BOTH],
        [PLAIN, SIGNIFICANT, BOTH],
    );
    let extent = every_history_of_a_mix(rule, &all, &three);
    assert!(extent.states > 70_000, "{extent:?}");
}

#[test]
fn every_history_with_temporary_children_keeps_the_invariants() {
    let kinds = [PLAIN, TEMPORARY];
    let four =
        STRATEGIES.map(|strategy| plan(strategy, 1, vec![PLAIN, TEMPORARY, PLAIN, TEMPORARY]));
    explored(four);
    for rule in [AutoShutdown::Never, AutoShutdown::AllTerminated] {
        let extent = every_history_of_a_mix(rule, &kinds, &kinds);
        assert!(extent.states > 17_000, "{extent:?}");
    }
}

#[test]
fn every_history_that_any_significant_child_may_end_keeps_the_invariants() {
    every_history_with_significant_children(AutoShutdown::AnySignificant);
}

#[test]
fn every_history_that_all_significant_children_may_end_keeps_the_invariants() {
    every_history_with_significant_children(AutoShutdown::AllSignificant);
}
