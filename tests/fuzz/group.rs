//! [`GroupMachine`] under any inputs at any times, also of children that there are not.

use crate::letters::{choice, letter};
use crate::t0;
use bolero::check;
use janus_supervisor::machine::{
    AutoShutdown, ChildEnd, ChildRules, GroupCommand, GroupInput, GroupMachine, Intensity, Strategy,
};
use std::time::{Duration, Instant};

/// `s`tart, `r`eady, `d`own, `D`own for long, `h`alted, `c`ompleted, `f`ailed for good, stopped by an `o`perator, `x`
/// stop, `t`ick. Those of a child are followed by its number. Then time: `.` a millisecond, `>` to the deadline, `<` a
/// second back.
const ALPHABET: &[u8] = b"srdDhcfoxt.><";

#[test]
fn a_group_starts_whom_it_may_and_ends_when_all_have_ended() {
    check!(name = "group")
        .with_iterations(10_000)
        .for_each(|bytes: &[u8]| History::new(bytes).play());
}

/// What a child has last been told, or has last said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stand {
    Down,
    /// Told to start, perhaps ready.
    Runs,
    Halting,
    Stopping,
    Ended,
}

struct History<'a> {
    machine: GroupMachine,
    letters: std::iter::Copied<std::slice::Iter<'a, u8>>,
    now: Instant,
    children: Vec<Stand>,
    stopped: bool,
    finished: bool,
}

impl<'a> History<'a> {
    /// Strategy, rule of the end, intensity and number of children, then the rules of each.
    fn new(bytes: &'a [u8]) -> Self {
        let mut letters = bytes.iter().copied();
        let strategies = [
            Strategy::OneForOne,
            Strategy::OneForAll,
            Strategy::RestForOne,
        ];
        let strategy = strategies[usize::from(choice(&mut letters, 3))];
        let rules = [
            AutoShutdown::Never,
            AutoShutdown::AnySignificant,
            AutoShutdown::AllSignificant,
            AutoShutdown::AllTerminated,
        ];
        let rule = rules[usize::from(choice(&mut letters, 4))];
        let intensity = match choice(&mut letters, 5) {
            4 => Intensity::unlimited(),
            tolerated => Intensity::new(tolerated.into(), Duration::from_secs(1)),
        };
        let n = usize::from(choice(&mut letters, 6));
        let child = |rules| ChildRules {
            temporary: rules & 1 != 0,
            significant: rules & 2 != 0,
        };
        let children: Vec<_> = (0..n).map(|_| child(choice(&mut letters, 4))).collect();
        Self {
            machine: GroupMachine::new(strategy, intensity, rule, children),
            letters,
            now: t0(),
            children: vec![Stand::Down; n],
            stopped: false,
            finished: false,
        }
    }

    fn play(mut self) {
        while let Some(byte) = self.letters.next() {
            match letter(ALPHABET, byte) {
                b'.' => self.now += Duration::from_millis(1),
                b'<' => {
                    let earlier = self.now.checked_sub(Duration::from_secs(1));
                    self.now = earlier.unwrap_or(self.now);
                }
                b'>' => self.now = self.machine.deadline().unwrap_or(self.now).max(self.now),
                letter => self.give(letter),
            }
        }
    }

    fn input(&mut self, letter: u8) -> GroupInput {
        if let Some(alone) = match letter {
            b's' => Some(GroupInput::Start),
            b'x' => Some(GroupInput::Stop),
            b't' => Some(GroupInput::Tick),
            _ => None,
        } {
            return alone;
        }
        // One more than there are.
        let n = u8::try_from(self.children.len() + 1).unwrap_or(u8::MAX);
        let child = usize::from(choice(&mut self.letters, n));
        let down = |delay| GroupInput::Down {
            child,
            due: self.now + delay,
        };
        let ended = |end| GroupInput::Ended { child, end };
        match letter {
            b'r' => GroupInput::Ready(child),
            b'd' => down(Duration::from_millis(2)),
            b'D' => down(Duration::from_secs(3_600)),
            b'h' => GroupInput::Halted(child),
            b'c' => ended(ChildEnd::Completed),
            b'f' => ended(ChildEnd::Failed),
            _ => ended(ChildEnd::Stopped),
        }
    }

    fn give(&mut self, letter: u8) {
        let input = self.input(letter);
        self.hear(input);
        self.stopped |= input == GroupInput::Stop;
        let command = self.machine.handle(self.now, input);
        self.obey(command);
    }

    /// Who runs and says otherwise does not run.
    fn hear(&mut self, input: GroupInput) {
        let (child, to) = match input {
            GroupInput::Down { child, .. } | GroupInput::Halted(child) => (child, Stand::Down),
            GroupInput::Ended { child, .. } => (child, Stand::Ended),
            _ => return,
        };
        if let Some(stand) = self.children.get_mut(child) {
            if matches!(stand, Stand::Runs | Stand::Halting) || to == Stand::Ended {
                *stand = to;
            }
        }
    }

    /// Invariants 2 and 3 of `machine/group.rs`, and that nobody is told anything twice.
    fn obey(&mut self, command: GroupCommand) {
        let (child, before, to) = match command {
            GroupCommand::Wait => return,
            GroupCommand::Finish(_) => {
                assert!(!self.finished);
                assert!(self.children.iter().all(|child| *child == Stand::Ended));
                self.finished = true;
                return;
            }
            GroupCommand::Start(child) => {
                assert!(!self.stopped);
                (child, &[Stand::Down][..], Stand::Runs)
            }
            GroupCommand::Halt(child) => (child, &[Stand::Runs][..], Stand::Halting),
            GroupCommand::Stop(child) => {
                let any = &[Stand::Down, Stand::Runs, Stand::Halting][..];
                (child, any, Stand::Stopping)
            }
        };
        assert!(!self.finished);
        assert!(before.contains(&self.children[child]), "{command:?}");
        self.children[child] = to;
    }
}
