//! The run of a group: hears of its children, asks the machine, tells the children what it says.
//!
//! Invariants:
//!
//! 1. The children's tasks begin with the run and are over when it ends. If the run is dropped, they are dropped, too,
//!    and the run counts as over when they are: each holds it.
//! 2. A child hears from nobody but its group: the shutdown of all reaches it by way of its group.
//! 3. A report that a child made before it heard of its last permit is not given to the machine: it may be about a run
//!    that the group has already answered.

use super::current::hold;
use super::monitor;
use super::{Task, drive};
use crate::cell::{Hold, ServiceCell};
use crate::error::GroupError;
use crate::log::Quiet;
use crate::machine::{
    ChildEnd, ChildRules, GroupCommand, GroupEnd, GroupInput, GroupMachine, Happening, Permit,
};
use crate::shared::Shared;
use crate::spawn::{Enrolled, GroupPlan, Kind, enroll};
use crate::{
    CancellationToken, EventKind, JanusService, RestartPolicy, RunOutcome, ServiceError,
    StopReason, TerminationReason, clock, notify,
};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// A group, as the service that it is.
pub(crate) struct GroupService {
    name: Arc<str>,
    shared: Arc<Shared>,
    plan: Arc<GroupPlan>,
    /// The children of the first run, which are registered along with the group, and the group.
    first: Mutex<Option<(Arc<ServiceCell>, Vec<Enrolled>)>>,
}

impl GroupService {
    pub(crate) fn new(
        cell: Arc<ServiceCell>,
        shared: Arc<Shared>,
        plan: Arc<GroupPlan>,
        first: Vec<Enrolled>,
    ) -> Self {
        Self {
            name: Arc::clone(&cell.name),
            shared,
            plan,
            first: Mutex::new(Some((cell, first))),
        }
    }

    fn take_first(&self) -> Option<(Arc<ServiceCell>, Vec<Enrolled>)> {
        let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        first.take()
    }

    /// Sets the children's tasks going. None begins a run before it is told to.
    fn launch(&self, children: Vec<Enrolled>) -> (Family, UnboundedReceiver<Report>) {
        let runtime = Handle::current();
        let (reports, received) = unbounded_channel();
        let mut family = Family(Vec::with_capacity(children.len()));
        for (index, (child, plan)) in children.into_iter().zip(&self.plan.children).enumerate() {
            let Enrolled { cell, first, .. } = child;
            family.0.push((Arc::clone(&cell), Permit::default()));
            let parent = Parent {
                index,
                reports: reports.clone(),
                quiet: Arc::clone(&plan.quiet),
                _hold: hold(),
            };
            let Some(decider) = cell.begin_task() else {
                // Somebody has stopped it before, and all in it.
                let reason = cell.read(|lifecycle| lifecycle.termination_reason().cloned());
                parent.report_end(reason.as_ref());
                continue;
            };
            let runtime = plan.spec.runtime.as_ref().unwrap_or(&runtime);
            monitor::watch(&cell, decider.checks(), runtime);
            let task = Task::new(Arc::clone(&cell), self.shared.join(), decider).child_of(parent);
            match &plan.kind {
                Kind::Service(recipe) => recipe.launch(task, runtime),
                Kind::Group(plan) => {
                    let (shared, plan) = (Arc::clone(&self.shared), Arc::clone(plan));
                    let group = Self::new(cell, shared, plan, first);
                    let run = drive(task, group);
                    drop(runtime.spawn(run));
                }
            }
        }
        (family, received)
    }

    fn machine(&self) -> GroupMachine {
        let plan = &self.plan;
        let children = plan.children.iter().map(|child| ChildRules {
            temporary: child.spec.policy == RestartPolicy::Never,
            significant: child.spec.significant,
        });
        GroupMachine::new(plan.strategy, plan.intensity, plan.auto_shutdown, children)
    }

    /// What the group's end means to its parent.
    fn outcome(&self, end: GroupEnd, family: &Family) -> Result<(), ServiceError> {
        let child = |index: usize| &family.0[index].0;
        Err(match end {
            GroupEnd::Stopped | GroupEnd::Done => return Ok(()),
            GroupEnd::IntensityExceeded(index) => {
                GroupError::intensity_exceeded(child(index), self.plan.intensity).into()
            }
            GroupEnd::ChildLost(index) => GroupError::child_lost(child(index)).into(),
            // Its work is over, and will not be better for being done again.
            GroupEnd::DoneWithFailure(index) => {
                ServiceError::permanent(GroupError::child_lost(child(index)))
            }
        })
    }
}

impl JanusService for GroupService {
    fn name(&self) -> &str {
        &self.name
    }

    async fn run(&self, cancel: CancellationToken) -> Result<(), ServiceError> {
        let children = match self.take_first() {
            Some((_, first)) => first,
            None => enroll(&self.shared, &self.plan)?,
        };
        let (mut family, mut reports) = self.launch(children);
        let mut machine = self.machine();
        let mut stopping = false;
        let mut next = machine.handle(clock::now(), GroupInput::Start);
        loop {
            match next {
                GroupCommand::Wait => {}
                GroupCommand::Start(child) => family.permit(child, |permit| permit.go += 1),
                GroupCommand::Halt(child) => family.permit(child, |permit| permit.halt = permit.go),
                GroupCommand::Stop(child) => {
                    let child = &family.0[child].0;
                    if notify::stop_reason() == Some(StopReason::Shutdown) {
                        child.request_shutdown();
                    } else {
                        child.request_stop();
                    }
                }
                GroupCommand::Finish(end) => return self.outcome(end, &family),
            }
            if machine.is_up() {
                // Whoever comes after the group in its parent's order may start.
                notify::ready();
            }
            let input = tokio::select! {
                biased;
                () = cancel.cancelled(), if !stopping => {
                    stopping = true;
                    Some(GroupInput::Stop)
                }
                Some(report) = reports.recv() => family.current(report),
                () = super::sleep_until(machine.deadline()) => Some(GroupInput::Tick),
            };
            next = match input {
                Some(input) => machine.handle(clock::now(), input),
                None => GroupCommand::Wait,
            };
        }
    }
}

/// The children that were never set going end all the same.
impl Drop for GroupService {
    fn drop(&mut self) {
        if let Some((group, first)) = self.take_first() {
            let stopped = group.is_stop_requested();
            for child in first {
                abandon(&self.shared, child, stopped);
            }
        }
    }
}

/// Ends what has no task: as stopped, if its group was, or else as lost with its runtime.
fn abandon(shared: &Arc<Shared>, child: Enrolled, stopped: bool) {
    for grandchild in child.first {
        abandon(shared, grandchild, stopped);
    }
    let Some(decider) = child.cell.begin_task() else {
        return;
    };
    if stopped {
        child.cell.request_stop();
    }
    Task::new(child.cell, shared.join(), decider).never_began();
}

/// Ends a child that was asked to stop, and all in it, if it has no task yet that would do so.
pub(crate) fn end_without_task(shared: &Arc<Shared>, child: &Arc<ServiceCell>) {
    let Some(decider) = child.begin_task() else {
        return;
    };
    // Before anybody is told, who might forget it with all in it.
    let all = shared.registry.all();
    Task::new(Arc::clone(child), shared.join(), decider).never_began();
    for inside in all.inside(&child.name).rev() {
        if let Some(decider) = inside.begin_task() {
            inside.request_stop();
            Task::new(Arc::clone(inside), shared.join(), decider).never_began();
        }
    }
}

/// The children of one run.
struct Family(Vec<(Arc<ServiceCell>, Permit)>);

impl Family {
    fn permit(&mut self, child: usize, change: impl FnOnce(&mut Permit)) {
        let (cell, permit) = &mut self.0[child];
        change(permit);
        cell.set_permit(*permit);
    }

    /// What a child reports, unless it has been overtaken: invariant 3.
    fn current(&self, report: Report) -> Option<GroupInput> {
        let Report { child, go, what } = report;
        let input = match what {
            News::Ended(end) => return Some(GroupInput::Ended { child, end }),
            News::Ready => GroupInput::Ready(child),
            News::Down(due) => GroupInput::Down { child, due },
            News::Halted => GroupInput::Halted(child),
        };
        let (_, permit) = self.0.get(child)?;
        (permit.go == go).then_some(input)
    }
}

/// Invariant 1. Changes nothing for children that have ended.
impl Drop for Family {
    fn drop(&mut self) {
        for (cell, _) in self.0.iter().rev() {
            cell.request_stop();
            cell.request_abort();
        }
    }
}

/// What a child tells its group.
#[derive(Debug)]
struct Report {
    child: usize,
    /// The last permit to run that the child knew of.
    go: u64,
    what: News,
}

#[derive(Debug)]
enum News {
    Ready,
    Down(Instant),
    Halted,
    Ended(ChildEnd),
}

/// A child's side of its group.
#[derive(Debug)]
pub(crate) struct Parent {
    index: usize,
    reports: UnboundedSender<Report>,
    quiet: Arc<Mutex<Quiet>>,
    /// Invariant 1.
    _hold: Option<Hold>,
}

impl Parent {
    /// Which lines of this service were shown, in this life and those before.
    pub(super) fn quiet(&self) -> Quiet {
        *self.quiet.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes which were.
    pub(super) fn set_quiet(&self, quiet: Quiet) {
        *self.quiet.lock().unwrap_or_else(PoisonError::into_inner) = quiet;
    }

    /// Reports what came of a step, if it is the group's business. `held` is whether the child waits for a permit now,
    /// and `due` when its backoff is over.
    pub(super) fn report(&self, happened: &[Happening], go: u64, held: bool, due: Option<Instant>) {
        let last = happened.last().map(|last| &last.kind);
        let what = match (last, due) {
            (Some(EventKind::Running), _) => News::Ready,
            (Some(EventKind::BackingOff { .. }), Some(due))
                if has_failed_or_completed(happened) =>
            {
                News::Down(due)
            }
            (Some(EventKind::BackingOff { .. }), _) => News::Halted,
            (None, _) if held => News::Halted,
            _ => return,
        };
        self.send(go, what);
    }

    /// Reports that the child's run has been entered, and is ready.
    pub(super) fn report_ready(&self, go: u64) {
        self.send(go, News::Ready);
    }

    /// Reports that the child is over.
    pub(super) fn report_end(&self, reason: Option<&TerminationReason>) {
        self.send(0, News::Ended(ChildEnd::of(reason)));
    }

    fn send(&self, go: u64, what: News) {
        let child = self.index;
        if self.reports.send(Report { child, go, what }).is_err() {
            // The group's run was dropped, and this child is to end.
        }
    }
}

/// Whether the run that ended did so by itself.
pub(super) fn has_failed_or_completed(happened: &[Happening]) -> bool {
    happened.iter().any(|happening| {
        matches!(
            happening.kind,
            EventKind::RunEnded {
                outcome: RunOutcome::Completed | RunOutcome::Failed(_),
                ..
            }
        )
    })
}
