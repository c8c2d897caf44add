//! A seed -> a history.

use crate::dice::Dice;
use crate::script::{
    Backoff, Command, Common, End, Fleet, GroupSpec, History, Ms, Node, Run, ServiceSpec, Step,
    Trigger, Wish,
};
use janus_supervisor::{AutoShutdown, Jitter, RestartPolicy, Strategy};

/// The whole history of this seed.
pub(crate) fn history(seed: u64) -> History {
    Generator {
        dice: Dice::new(seed),
    }
    .history(seed)
}

const RULES: [AutoShutdown; 6] = [
    AutoShutdown::Never,
    AutoShutdown::Never,
    AutoShutdown::Never,
    AutoShutdown::AnySignificant,
    AutoShutdown::AllSignificant,
    AutoShutdown::AllTerminated,
];

struct Generator {
    dice: Dice,
}

impl Generator {
    fn history(&mut self, seed: u64) -> History {
        let fleet = self.fleet(seed);
        // Most are small: what goes wrong usually takes two or three.
        let most = match self.dice.below(10) {
            0..=4 => 5,
            5..=8 => 12,
            _ => 50,
        };
        let mut room = self.dice.between(1, most);
        let mut names = Vec::new();
        let mut trees = Vec::new();
        let mut steps = Vec::new();
        let length = self.dice.between(50, 4_000);
        while room > 0 {
            let tree = self.tree(&mut room, &mut names, fleet.auto_shutdown);
            let at = if self.dice.one_in(4) {
                self.dice.below(length)
            } else {
                0
            };
            let command = Command::Spawn(trees.len());
            steps.push(Step { at, command });
            trees.push(tree);
        }
        self.commands(&trees, length, &mut steps);
        steps.sort_by_key(|step| step.at);
        let end = (length, self.trigger());
        History {
            fleet,
            trees,
            steps,
            end,
        }
    }

    fn fleet(&mut self, seed: u64) -> Fleet {
        let dice = &mut self.dice;
        Fleet {
            seed,
            shutdown_timeout: dice.millis(2_000),
            abort_timeout: dice.millis(100),
            intensity: dice
                .one_in(5)
                .then(|| (dice.below(6) as u32, dice.between(1, 2_000))),
            auto_shutdown: if dice.one_in(3) {
                dice.pick(&RULES)
            } else {
                AutoShutdown::Never
            },
            observer_panics: dice.one_in(4).then(|| dice.between(1, 10)),
            is_run: dice.one_in(2),
        }
    }

    fn tree(&mut self, room: &mut u64, names: &mut Vec<String>, rule: AutoShutdown) -> Node {
        // Names are sometimes used again.
        let name = if !names.is_empty() && self.dice.one_in(10) {
            self.dice.pick(names)
        } else {
            format!("s{}", names.len())
        };
        let mut node = self.node(name.clone(), room, 3, rule);
        for other in names.iter() {
            if *other != name && self.dice.one_in(6) {
                node.common_mut().after.push(other.clone());
            }
        }
        if !names.contains(&name) {
            names.push(name);
        }
        node
    }

    fn node(&mut self, name: String, room: &mut u64, levels: u32, rule: AutoShutdown) -> Node {
        *room = room.saturating_sub(1);
        if levels > 0 && self.dice.one_in(if levels == 3 { 2 } else { 5 }) {
            self.group(name, room, levels - 1, rule)
        } else {
            Node::Service(self.service(name, rule))
        }
    }

    fn group(&mut self, name: String, room: &mut u64, levels: u32, rule: AutoShutdown) -> Node {
        let mut common = self.common(name, rule);
        // Groups seldom need a bound of their own.
        common.grace = common.grace.filter(|_| self.dice.one_in(3));
        let auto_shutdown = self.dice.pick(&RULES);
        let mut children = Vec::new();
        for n in 0..self.dice.between(0, 6) {
            if *room == 0 {
                break;
            }
            children.push(self.node(format!("c{n}"), room, levels, auto_shutdown));
        }
        let strategies = [
            Strategy::OneForOne,
            Strategy::OneForAll,
            Strategy::RestForOne,
        ];
        Node::Group(GroupSpec {
            common,
            strategy: self.dice.pick(&strategies),
            intensity: (self.dice.below(6) as u32, self.dice.between(1, 2_000)),
            auto_shutdown,
            children,
        })
    }

    fn common(&mut self, name: String, rule: AutoShutdown) -> Common {
        let dice = &mut self.dice;
        let policies = [
            RestartPolicy::Always,
            RestartPolicy::OnFailure,
            RestartPolicy::OnFailure,
            RestartPolicy::Never,
        ];
        let policy = dice.pick(&policies);
        let knows = matches!(
            rule,
            AutoShutdown::AnySignificant | AutoShutdown::AllSignificant
        );
        Common {
            name,
            policy,
            grace: (!dice.one_in(4)).then(|| dice.millis(500)),
            significant: knows && policy != RestartPolicy::Always && dice.one_in(2),
            after: Vec::new(),
            backoff: self.backoff(),
        }
    }

    fn service(&mut self, name: String, rule: AutoShutdown) -> ServiceSpec {
        let common = self.common(name, rule);
        let dice = &mut self.dice;
        let notify = dice.one_in(3);
        let start_timeout = (notify && !dice.one_in(4)).then(|| dice.millis(300).max(1));
        let watchdog = dice.one_in(5).then(|| dice.millis(300).max(10));
        let ephemeral = dice.one_in(8);
        let runs = (0..dice.between(0, 8)).map(|_| self.run(watchdog));
        let runs = runs.collect();
        ServiceSpec {
            common,
            notify,
            start_timeout,
            watchdog,
            ephemeral,
            runs,
        }
    }

    fn run(&mut self, watchdog: Option<Ms>) -> Run {
        let ends = self.ends();
        let stops = self.stops();
        let dice = &mut self.dice;
        let beats = watchdog
            .filter(|_| !dice.one_in(3))
            .map(|period| (dice.between(1, period), dice.between(1, 20) as u32));
        Run {
            ready: match dice.below(8) {
                0..=3 => Some(0),
                4..=6 => Some(dice.millis(400)),
                _ => None,
            },
            beats,
            cancels_itself: dice.one_in(12).then(|| dice.millis(200)),
            ends,
            stops,
            drop_panics: dice.one_in(12),
            call_panics: dice.one_in(30),
        }
    }

    fn ends(&mut self) -> Option<(Ms, End)> {
        let end = match self.dice.below(10) {
            0 | 1 => return None,
            2 | 3 => End::Ok,
            4..=7 => End::Fail,
            8 => End::Panic,
            _ => End::FailForGood,
        };
        Some((self.dice.millis(600), end))
    }

    fn stops(&mut self) -> Option<(Ms, End)> {
        let end = match self.dice.below(12) {
            0 => return None,
            1 | 2 => End::Fail,
            3 => End::Panic,
            4 => End::FailForGood,
            _ => End::Ok,
        };
        let after = if self.dice.one_in(2) {
            0
        } else {
            self.dice.millis(400)
        };
        Some((after, end))
    }

    fn backoff(&mut self) -> Backoff {
        let dice = &mut self.dice;
        let base = dice.millis(300);
        let max = base + dice.millis(1_000);
        let jitters = [
            Jitter::None,
            Jitter::None,
            Jitter::Full,
            Jitter::Equal,
            Jitter::Decorrelated,
        ];
        let mut backoff = Backoff {
            base,
            max,
            cooldown: dice.between(1, 1_000),
            breaker: (!dice.one_in(3)).then(|| (dice.between(1, 5) as u32, dice.between(1, 4_000))),
            half_open: None,
            initial: dice.one_in(5).then(|| dice.millis(300).min(max)),
            jitter: dice.pick(&jitters),
        };
        if backoff.breaker.is_some() && dice.one_in(4) {
            backoff.half_open = Some(dice.millis(400).max(1));
        }
        if backoff.config().validate().is_err() {
            // A breaker that can never open.
            (backoff.breaker, backoff.half_open) = (None, None);
        }
        backoff
    }

    fn commands(&mut self, trees: &[Node], length: Ms, steps: &mut Vec<Step>) {
        let paths: Vec<String> = trees.iter().flat_map(Node::paths).collect();
        let most = if self.dice.one_in(3) {
            0
        } else {
            2 + paths.len() as u64
        };
        for _ in 0..self.dice.between(0, most) {
            let at = self.dice.millis(length);
            let command = self.command(&paths, trees.len());
            steps.push(Step { at, command });
        }
    }

    fn command(&mut self, paths: &[String], trees: usize) -> Command {
        let dice = &mut self.dice;
        let wishes = [
            Wish::Stop,
            Wish::Stop,
            Wish::Restart,
            Wish::Restart,
            Wish::Restart,
            Wish::Remove,
            Wish::WaitReady,
            Wish::WaitEnd,
        ];
        let (wish, path) = (dice.pick(&wishes), dice.pick(paths));
        match dice.below(24) {
            0..=15 => Command::Ask(wish, path),
            16 | 17 => Command::AskAndLeave(wish, path),
            18 => Command::Forget(path),
            19 => Command::ForgetAllTerminated,
            20 => Command::Shutdown(self.trigger()),
            _ => Command::Spawn(dice.index(trees)),
        }
    }

    fn trigger(&mut self) -> Trigger {
        self.dice
            .pick(&[Trigger::Call, Trigger::Call, Trigger::Token, Trigger::Drop])
    }
}
