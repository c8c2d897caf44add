//! Who is told of what has happened to a service: observers, the log, whoever waits, and what the service is in.

use super::Task;
use crate::driver::group::has_failed_or_completed;
use crate::driver::{caught, logged};
use crate::log;
use crate::machine::{Command, Step, Tally};
use crate::{EventKind, ServiceEvent, ServiceLifecycle};
use std::sync::Arc;
use std::time::Instant;
use tracing::Span;
use tracing::level_filters::LevelFilter;

impl Task {
    /// Whether anybody wants to know what happens to it, and not only how much.
    #[inline]
    pub(super) fn is_listened_to(&self) -> bool {
        is_logged() || self.shared.is_observed() || self.shared.is_watched()
    }

    /// Whether anybody is to be told what happens to it.
    #[inline]
    pub(super) fn is_followed(&self) -> bool {
        self.is_listened_to() || self.has_company()
    }

    /// Tells everybody what has happened.
    pub(super) fn tell_all(&mut self, now: Instant, step: &mut Step) {
        if self.has_company() {
            self.report(now, step);
        }
        let is_logged = is_logged();
        if is_logged && step.tally.events > 0 {
            self.log(now, step);
        }
        if is_logged && step.command == Command::Run {
            self.enter_span();
        }
        if self.shared.is_observed() && step.tally.events > 0 {
            self.tell_observers(now, step);
            self.tell_watchers();
        } else {
            self.count(step.tally);
        }
    }

    fn log(&mut self, now: Instant, step: &Step) {
        let cell = Arc::clone(&self.cell);
        let rare = self.rare();
        if let Some(parent) = &rare.parent {
            rare.quiet = parent.quiet();
        }
        logged(|| log::step(&cell.name, now, &step.happened, &mut rare.quiet));
        if let Some(parent) = &rare.parent {
            parent.set_quiet(rare.quiet);
        }
    }

    /// Takes note of how much has happened, where nobody wants to know what.
    #[inline]
    pub(super) fn count(&self, tally: Tally) {
        if tally.events > 0 {
            self.shared.metrics.add(tally);
            self.tell_watchers();
        }
    }

    /// Last, so that whoever waits finds everybody told. Also where nobody waited before: somebody may have looked in
    /// between.
    #[inline]
    fn tell_watchers(&self) {
        if self.shared.is_watched() {
            self.shared.tell_changed(&self.cell);
        }
    }

    /// The run has been polled for the first time: tells that it is ready, if it is.
    pub(super) fn tell_entered(&mut self) {
        self.release_place();
        self.tell_up();
    }

    /// Tells whatever the service is in that it is up, if it is.
    pub(super) fn tell_up(&self) {
        if !self.has_company() || !self.cell.is_up() {
            return;
        }
        match self.parent() {
            Some(parent) => parent.report_ready(self.decider.permit().go),
            None => self.shared.is_up(&self.cell),
        }
    }

    /// Whether others have to know what happens to it.
    #[inline]
    fn has_company(&self) -> bool {
        self.parent().is_some() || self.shared.has_relations(&self.cell)
    }

    /// Tells whatever the service is in what it has to know.
    fn report(&self, now: Instant, step: &Step) {
        if step.command == Command::Run {
            return; // when it has been entered
        }
        if let Some(parent) = self.parent() {
            let (go, held) = (self.decider.permit().go, self.decider.is_held());
            let retry = self.cell.read(ServiceLifecycle::retry);
            parent.report(&step.happened, go, held, retry.map(|retry| retry.at));
        } else {
            match step.happened.last().map(|last| &last.kind) {
                Some(EventKind::Running) => self.shared.is_up(&self.cell),
                Some(EventKind::BackingOff { .. }) if has_failed_or_completed(&step.happened) => {
                    self.shared.restarts(&self.cell, now);
                }
                _ => {}
            }
        }
    }

    /// From now on all is logged in a span of this run's own. At error level, so that no filter on severity strips the
    /// service's own lines of the name they belong to.
    fn enter_span(&mut self) {
        self.leave_span();
        let (run, attempt) = self
            .cell
            .read(|lifecycle| (lifecycle.start_count(), lifecycle.attempt()));
        let service = &*self.cell.name;
        let span = caught(|| tracing::error_span!("service", service, run, attempt));
        self.rare().span = span.unwrap_or_else(|_| Span::none());
    }

    /// Leaves the span of the run before.
    pub(super) fn leave_span(&mut self) {
        if let Some(rare) = &mut self.rare {
            let span = std::mem::replace(&mut rare.span, Span::none());
            logged(|| drop(span));
        }
    }

    fn tell_observers(&self, now: Instant, step: &mut Step) {
        let mut happened = step.happened.drain(..);
        let Some(first) = happened.next() else {
            return;
        };
        // One event that changes, so that the name is shared once and not once for each.
        let (id, name) = (self.cell.id, Arc::clone(&self.cell.name));
        let mut event = ServiceEvent::new(id, name, first.run, step.first_seq, now, first.kind);
        self.shared.observe(&event);
        for next in happened {
            event.run = next.run;
            event.seq += 1;
            event.kind = next.kind;
            self.shared.observe(&event);
        }
    }
}

/// Whether anything is logged at all.
fn is_logged() -> bool {
    LevelFilter::current() != LevelFilter::OFF
}
