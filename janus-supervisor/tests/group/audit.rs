//! An auditor of what a group tells its children.

use super::In;
use super::world::{Child, Plan, Stand, World};
use In::Down;
use janus_supervisor::machine::{GroupCommand, Strategy};

impl World {
    /// Does what it is told, if it may be told that.
    pub(crate) fn obey(
        &mut self,
        plan: &Plan,
        input: In,
        command: GroupCommand,
    ) -> Result<(), &'static str> {
        if self.finished && command != GroupCommand::Wait {
            return Err("3: something after the end");
        }
        match command {
            GroupCommand::Wait => self.may_wait(plan),
            GroupCommand::Start(child) => {
                self.may_start(plan, input, child)?;
                self.children[child].stand = Stand::Starting;
                self.restart = None;
                Ok(())
            }
            GroupCommand::Halt(child) => {
                self.may_lower(plan, child)?;
                if plan.is_temporary(child) {
                    return Err("halted, and would never come back");
                }
                self.children[child].stand = Stand::Halting;
                Ok(())
            }
            GroupCommand::Stop(child) => {
                if self.ending.is_none() {
                    self.may_lower(plan, child)?;
                    if !plan.is_temporary(child) {
                        return Err("stopped for good without a reason");
                    }
                } else if self.children[child].stand == Stand::Stopping
                    || !self.is_last(plan, child, |above| above.stand == Stand::Ended)
                {
                    return Err("1: stopped out of turn");
                }
                self.children[child].stand = Stand::Stopping;
                Ok(())
            }
            GroupCommand::Finish(end) => {
                let mut children = self.children(plan).iter();
                if !children.all(|child| child.stand == Stand::Ended) {
                    return Err("3: finished, and somebody is left");
                }
                if self.ending != Some(end) {
                    return Err("finished for another reason");
                }
                self.finished = true;
                Ok(())
            }
        }
    }

    /// Whether there is anything to wait for.
    fn may_wait(&self, plan: &Plan) -> Result<(), &'static str> {
        let any = |stands: &[Stand]| {
            let mut children = self.children(plan).iter();
            children.any(|child| stands.contains(&child.stand))
        };
        if self.finished || !self.begun && self.ending.is_none() {
            return Ok(());
        }
        if self.ending.is_some() {
            return if any(&[Stand::Stopping]) {
                Ok(())
            } else {
                Err("3: nobody is told to stop")
            };
        }
        if self.children(plan).iter().any(|child| child.old) {
            return if any(&[Stand::Halting, Stand::Stopping]) {
                Ok(())
            } else {
                Err("nobody is told to come down")
            };
        }
        let backs_off = self.restart.is_some_and(|restart| restart.due > self.now);
        if backs_off || any(&[Stand::Starting]) || !any(&[Stand::Down]) {
            Ok(())
        } else {
            Err("nobody is told to start")
        }
    }

    /// Whether it has not ended, and all after it are in this state.
    fn is_last(&self, plan: &Plan, child: usize, above: fn(&Child) -> bool) -> bool {
        let children = self.children(plan);
        children[child].stand != Stand::Ended && children[child + 1..].iter().all(above)
    }

    fn may_start(&self, plan: &Plan, input: In, child: usize) -> Result<(), &'static str> {
        let it = self.children[child];
        let alone = plan.strategy == Strategy::OneForOne;
        let again = alone && it.been_ready && matches!(input, Down(failed, _) if failed == child);
        // Under the other strategies, whoever has been ready and is not up is to be started first.
        let has_had_its_turn = |before: &Child| match before.stand {
            Stand::Ended => true,
            Stand::Up => before.been_ready,
            _ => before.been_ready && (alone || before.by_hand),
        };
        if !self.begun || self.ending.is_some() {
            return Err("3: started before the beginning, or after the end has begun");
        }
        if it.stand != Stand::Down {
            return Err("2: started twice");
        }
        if self.children(plan).iter().any(|child| child.old) {
            return Err("2: started beside what is to come down first");
        }
        if self.restart.is_some_and(|restart| restart.due > self.now) {
            return Err("started before the backoff is over");
        }
        if !again && !self.children[..child].iter().all(has_had_its_turn) {
            return Err("1: started before its turn");
        }
        Ok(())
    }

    /// Whether it may be told to come down for a restart.
    fn may_lower(&self, plan: &Plan, child: usize) -> Result<(), &'static str> {
        let it = self.children[child];
        if self.ending.is_some() {
            return Err("lowered, and the group ends");
        }
        if !it.old {
            return Err("touched without need");
        }
        if !matches!(it.stand, Stand::Starting | Stand::Up) {
            return Err("told twice");
        }
        if !self.is_last(plan, child, |above| !above.runs()) {
            return Err("1: lowered out of turn");
        }
        Ok(())
    }

    /// Whether all is over, if it has to be, or everybody is up again who can be.
    pub(crate) fn is_settled(&self, plan: &Plan) -> Result<(), &'static str> {
        let all = |stands: &[Stand]| {
            let mut children = self.children(plan).iter();
            children.all(|child| stands.contains(&child.stand))
        };
        if self.finished != self.ending.is_some() {
            Err("3: it does not finish")
        } else if self.finished && !all(&[Stand::Ended]) {
            Err("3: finished, and somebody is left")
        } else if !all(&[Stand::Up, Stand::Ended]) {
            Err("a child is left behind")
        } else {
            Ok(())
        }
    }
}
