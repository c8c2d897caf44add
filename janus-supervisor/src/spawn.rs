//! From what users wrote to what is registered: every check comes before the first change.

use crate::cell::{ServiceCell, Traits};
use crate::driver::caught;
use crate::driver::group::end_without_task;
use crate::error::SpawnError;
use crate::group::{Child, Group, Recipe};
use crate::log::Quiet;
use crate::machine::{
    AutoShutdown, Checks, Decider, Dependency, Intensity, Readiness, Retries, Strategy,
};
use crate::shared::Shared;
use crate::{BackoffConfig, RestartPolicy, ServicePhase, SpawnOptions, clock};
use std::collections::HashSet;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::task::coop::unconstrained;

/// The settings of a service or group, checked.
pub(crate) struct Spec {
    /// Its path, if it is in a group.
    pub(crate) name: Arc<str>,
    pub(crate) policy: RestartPolicy,
    pub(crate) significant: bool,
    pub(crate) checks: Checks,
    /// Where it runs, if it is in a group. For the supervisor's own, whoever spawns them sees to that.
    pub(crate) runtime: Option<Handle>,
    /// It is in a group.
    inside: bool,
    backoff: Arc<BackoffConfig>,
    grace: Duration,
    ephemeral: bool,
}

/// A service or group, checked.
pub(crate) struct Plan {
    pub(crate) spec: Spec,
    pub(crate) kind: Kind,
    /// Which of its lines were shown, for all its lives.
    pub(crate) quiet: Arc<Mutex<Quiet>>,
}

impl Plan {
    fn new(spec: Spec, kind: Kind) -> Self {
        Self {
            spec,
            kind,
            quiet: Arc::default(),
        }
    }
}

/// What there is to run.
pub(crate) enum Kind {
    Service(Box<dyn Recipe>),
    Group(Arc<GroupPlan>),
}

/// A group, checked, with all in it.
pub(crate) struct GroupPlan {
    pub(crate) strategy: Strategy,
    pub(crate) intensity: Intensity,
    pub(crate) auto_shutdown: AutoShutdown,
    pub(crate) children: Vec<Plan>,
}

/// A child of a group that is registered and has no task yet, and those inside it.
pub(crate) struct Enrolled {
    pub(crate) cell: Arc<ServiceCell>,
    /// What its task will decide by, until everybody was told that it is there: nothing happens to it before.
    decider: Option<Decider>,
    pub(crate) first: Vec<Self>,
}

/// Whether a runtime can do what a service needs.
///
/// # Errors
/// [`SpawnError::NoTimeDriver`], [`SpawnError::RuntimeGone`].
pub(crate) fn check_runtime(name: &str, runtime: &Handle) -> Result<(), SpawnError> {
    let _inside = runtime.enter();
    // tokio tells nobody otherwise.
    caught(|| drop(tokio::time::sleep(Duration::ZERO))).map_err(|_| {
        let name = name.to_owned();
        SpawnError::NoTimeDriver { name }
    })?;
    if is_shut_down(runtime) {
        let name = name.to_owned();
        return Err(SpawnError::RuntimeGone { name });
    }
    Ok(())
}

/// Such a runtime cancels whatever is spawned on it, there and then.
fn is_shut_down(runtime: &Handle) -> bool {
    // Whatever whoever asks has spent of tokio's budget, the answer is there.
    let mut probe = pin!(unconstrained(runtime.spawn(std::future::ready(()))));
    let looked = probe.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    matches!(looked, Poll::Ready(Err(why)) if why.is_cancelled())
}

impl Spec {
    /// Checks what was given, as the supervisor's own or as a child of a group: `path` is the group's, with a `/` at
    /// the end, or empty. `grace` is what it has if it brings none.
    ///
    /// # Errors
    /// [`SpawnError`]: what is wrong.
    #[inline]
    pub(crate) fn new(
        shared: &Shared,
        (path, own_name): (&str, Arc<str>),
        own_policy: RestartPolicy,
        options: SpawnOptions,
        rule_of_parent: AutoShutdown,
        grace: Duration,
    ) -> Result<Self, SpawnError> {
        let policy = options.restart_policy.unwrap_or(own_policy);
        let checked = check(&own_name, policy, &options, rule_of_parent);
        let name = if path.is_empty() {
            own_name
        } else {
            format!("{path}{own_name}").into()
        };
        checked.map_err(|error| error.at(&name))?;
        if let Some(runtime) = &options.runtime {
            check_runtime(&name, runtime)?;
        }
        Ok(Self {
            backoff: backoff(shared, &name, options.backoff)?,
            grace: options.shutdown_grace.unwrap_or(grace),
            significant: options.significant,
            checks: options.checks,
            ephemeral: options.ephemeral,
            runtime: options.runtime,
            inside: !path.is_empty(),
            name,
            policy,
        })
    }

    /// Makes its cell, and what its task will decide by. Nobody sees them yet. `gated`: it waits for a permit.
    #[inline]
    pub(crate) fn cell(
        &self,
        shared: &Shared,
        now: Instant,
        gated: bool,
        group: bool,
    ) -> (Arc<ServiceCell>, Decider) {
        let (id, seed) = shared.next_id();
        let retries = Retries::new(Arc::clone(&self.backoff), seed);
        let mut decider = Decider::new(now, retries, self.grace);
        decider.check(self.checks);
        if gated {
            decider.close();
        }
        // A group starts by having its children start.
        let is_limited = shared.starts.is_some() && !group;
        if is_limited {
            decider.limit();
        }
        let traits = Traits {
            group,
            inside: self.inside,
            significant: self.significant,
            ephemeral: self.ephemeral,
            hears: is_limited || self.checks != Checks::default(),
        };
        let name = Arc::clone(&self.name);
        let cell = ServiceCell::new(now, name, id, self.policy, traits);
        (Arc::new(cell), decider)
    }
}

/// Checks the name of a service, and its options as the supervisor's own or as a child of a group.
///
/// # Errors
/// [`SpawnError`]: what is wrong.
fn check(
    name: &str,
    policy: RestartPolicy,
    options: &SpawnOptions,
    rule_of_parent: AutoShutdown,
) -> Result<(), SpawnError> {
    if let Some(rule) = broken_rule(name) {
        let name = name.to_owned();
        return Err(SpawnError::InvalidName { name, rule });
    }
    if options.significant && !rule_of_parent.knows_significance() {
        return Err(invalid(
            name,
            "it is significant, but its parent's AutoShutdown is neither AnySignificant nor AllSignificant",
        ));
    }
    if options.significant && policy == RestartPolicy::Always {
        return Err(invalid(
            name,
            "it is significant, but under RestartPolicy::Always it never ends by itself",
        ));
    }
    let checks = options.checks;
    if checks == Checks::default() {
        return Ok(()); // as nearly all are
    }
    if checks.start_timeout.is_some() && checks.readiness == Readiness::Immediate {
        return Err(invalid(
            name,
            "it has a start timeout, but without Readiness::Notify it is ready as soon as it has begun",
        ));
    }
    for (limit, rule) in [
        (checks.start_timeout, "its start timeout is zero"),
        (checks.watchdog, "the period of its watchdog is zero"),
    ] {
        if limit.is_some_and(|limit| limit.is_zero()) {
            return Err(invalid(name, rule));
        }
    }
    Ok(())
}

pub(crate) fn invalid(name: &str, rule: &'static str) -> SpawnError {
    let name = name.to_owned();
    SpawnError::InvalidOptions { name, rule }
}

/// # Errors
/// [`SpawnError::InvalidOptions`] if it could not count anything.
pub(crate) fn check_intensity(
    name: &str,
    intensity: Intensity,
    rule: &'static str,
) -> Result<(), SpawnError> {
    if intensity.within.is_zero() {
        return Err(invalid(name, rule));
    }
    Ok(())
}

/// The services to start after.
///
/// # Errors
/// [`SpawnError::UnknownDependency`].
#[inline]
pub(crate) fn dependencies(
    shared: &Shared,
    name: &str,
    after: &[Arc<str>],
) -> Result<Vec<Dependency>, SpawnError> {
    if after.is_empty() {
        return Ok(Vec::new());
    }
    let dependency = |other: &Arc<str>| {
        if **other == *name {
            let (name, up, id) = (Arc::clone(other), false, u64::MAX);
            return Ok(Dependency { name, id, up });
        }
        let cell = shared.registry.get(other).filter(|_| !other.contains('/'));
        let cell = cell.ok_or_else(|| SpawnError::UnknownDependency {
            name: name.to_owned(),
            dependency: other.to_string(),
        })?;
        Ok(Dependency {
            name: Arc::clone(&cell.name),
            id: cell.id,
            up: match cell.read(|lifecycle| lifecycle.phase()) {
                ServicePhase::Running => cell.is_up(),
                ServicePhase::Stopping | ServicePhase::Terminated => true,
                ServicePhase::Starting | ServicePhase::BackingOff => false,
            },
        })
    };
    after.iter().map(dependency).collect()
}

/// How many groups may be around a group: each of them takes some of the stack, here and where they are dropped.
const DEEPEST: usize = 100;

/// Checks a group and all in it. `path` is that of its parent, with a `/` at the end, or empty.
///
/// # Errors
/// [`SpawnError`]: what is wrong with which part.
pub(crate) fn plan_group(
    shared: &Shared,
    group: Group,
    path: &str,
    rule_of_parent: AutoShutdown,
) -> Result<(Spec, Arc<GroupPlan>), SpawnError> {
    let mut options = group.options;
    // It is ready when all in it are.
    options.checks.readiness = Readiness::Notify;
    let own = (path, group.name);
    // A group takes as long as those in it, unless it is told otherwise.
    let (policy, grace) = (RestartPolicy::default(), Duration::MAX);
    let spec = Spec::new(shared, own, policy, options, rule_of_parent, grace)?;
    let name = &spec.name;
    if name.matches('/').count() > DEEPEST {
        return Err(invalid(
            name,
            "groups are nested too deeply: by more than 100",
        ));
    }
    check_intensity(name, group.intensity, "the period of its intensity is zero")?;
    let below = format!("{name}/");
    let mut names = HashSet::new();
    let mut children = Vec::with_capacity(group.children.len());
    for child in group.children {
        let after = match &child {
            Child::Service(_, options) => &options.after,
            Child::Group(group) => &group.options.after,
        };
        let is_ordered = !after.is_empty();
        let child = match child {
            Child::Group(child) => {
                let (spec, plan) = plan_group(shared, child, &below, group.auto_shutdown)?;
                Plan::new(spec, Kind::Group(plan))
            }
            Child::Service(recipe, options) => {
                plan_service(shared, recipe, options, &below, group.auto_shutdown)?
            }
        };
        if is_ordered {
            return Err(invalid(
                &child.spec.name,
                "`after` is for the supervisor's own services; the children of a group start in the order they are given",
            ));
        }
        if !names.insert(Arc::clone(&child.spec.name)) {
            return Err(invalid(
                &child.spec.name,
                "another child of its group has that name",
            ));
        }
        children.push(child);
    }
    let plan = GroupPlan {
        strategy: group.strategy,
        intensity: group.intensity,
        auto_shutdown: group.auto_shutdown,
        children,
    };
    Ok((spec, Arc::new(plan)))
}

fn plan_service(
    shared: &Shared,
    recipe: Box<dyn Recipe>,
    options: SpawnOptions,
    path: &str,
    rule_of_parent: AutoShutdown,
) -> Result<Plan, SpawnError> {
    let panicked = |name: &str, source| SpawnError::Panicked {
        name: Some(format!("{path}{name}")),
        source,
    };
    let own_name: Arc<str> =
        caught(|| recipe.name().into()).map_err(|source| panicked("?", source))?;
    let own_policy =
        caught(|| recipe.restart_policy()).map_err(|source| panicked(&own_name, source))?;
    let own = (path, own_name);
    let grace = shared.shutdown_timeout;
    let spec = Spec::new(shared, own, own_policy, options, rule_of_parent, grace)?;
    Ok(Plan::new(spec, Kind::Service(recipe)))
}

/// The backoff of a service, checked.
///
/// # Errors
/// [`SpawnError::InvalidConfig`].
fn backoff(
    shared: &Shared,
    name: &str,
    own: Option<Arc<BackoffConfig>>,
) -> Result<Arc<BackoffConfig>, SpawnError> {
    shared.backoff(own).map_err(|source| {
        let name = name.to_owned();
        SpawnError::InvalidConfig { name, source }
    })
}

/// Makes the cell of a service or group, and those of all in it, and what its own task will decide by. Nobody sees them
/// yet. `gated`: it waits for a permit, as all in it do.
pub(crate) fn prepare(
    shared: &Shared,
    now: Instant,
    spec: &Spec,
    group: Option<&GroupPlan>,
    gated: bool,
) -> (Enrolled, Decider) {
    let (cell, decider) = spec.cell(shared, now, gated, group.is_some());
    let below = group.map_or(&[][..], |group| &group.children);
    let first = below.iter().map(|plan| prepare_child(shared, now, plan));
    let enrolled = Enrolled {
        cell,
        decider: None,
        first: first.collect(),
    };
    (enrolled, decider)
}

/// Makes a child of a group, which has no task before the run of that begins.
fn prepare_child(shared: &Shared, now: Instant, plan: &Plan) -> Enrolled {
    let group = match &plan.kind {
        Kind::Service(_) => None,
        Kind::Group(group) => Some(&**group),
    };
    let (child, decider) = prepare(shared, now, &plan.spec, group, true);
    Enrolled {
        decider: Some(decider),
        ..child
    }
}

/// Registers them all, or none, and tells everybody. `adopt` is called before anybody is told.
///
/// # Errors
/// [`SpawnError::DuplicateName`].
pub(crate) fn register(
    shared: &Arc<Shared>,
    now: Instant,
    enrolled: &mut [Enrolled],
    adopt: impl FnOnce(),
) -> Result<(), SpawnError> {
    let mut cells = Vec::new();
    list(enrolled, &mut cells);
    let replaced = shared
        .registry
        .insert_all(&cells)
        .map_err(|(name, phase)| {
            let name = name.to_string();
            SpawnError::DuplicateName { name, phase }
        })?;
    shared.introduce(&cells, now, &replaced, adopt);
    await_tasks(enrolled);
    for cell in cells.iter().filter(|cell| cell.is_stop_requested()) {
        // Somebody who was told of it has stopped it already.
        end_without_task(shared, cell);
    }
    Ok(())
}

/// From now on, those without a task can be ended.
fn await_tasks(enrolled: &mut [Enrolled]) {
    for child in enrolled {
        // A group last: whoever ends it ends all in it.
        await_tasks(&mut child.first);
        if let Some(decider) = child.decider.take() {
            child.cell.await_task(decider);
        }
    }
}

fn list(enrolled: &[Enrolled], cells: &mut Vec<Arc<ServiceCell>>) {
    for child in enrolled {
        cells.push(Arc::clone(&child.cell));
        list(&child.first, cells);
    }
}

/// Registers the children of a group that runs again.
///
/// # Errors
/// As [`register`].
pub(crate) fn enroll(shared: &Arc<Shared>, plan: &GroupPlan) -> Result<Vec<Enrolled>, SpawnError> {
    let now = clock::now();
    let children = plan.children.iter();
    let mut children: Vec<_> = children
        .map(|plan| prepare_child(shared, now, plan))
        .collect();
    register(shared, now, &mut children, || {})?;
    Ok(children)
}

/// The rule that a service's name breaks, if any.
fn broken_rule(name: &str) -> Option<&'static str> {
    // All of them, whatever the first says: that is faster than to look whether to go on.
    let found = |all, byte: u8| all | IN_NAMES[usize::from(byte)];
    if name.is_empty() {
        Some("it must not be empty")
    } else if name.bytes().fold(0, found) == 0 {
        None // as nearly all are
    } else if name.contains('/') {
        Some("it must not contain '/', which separates the parts of a path")
    } else if name.chars().any(char::is_control) {
        Some("it must not contain control characters")
    } else {
        None
    }
}

/// What bytes are in names: 0 for those that break no rule whatever is beside them.
const IN_NAMES: [u8; 256] = {
    let mut kinds = [1; 256];
    let mut byte = b' ';
    while byte <= b'~' {
        kinds[byte as usize] = (byte == b'/') as u8;
        byte += 1;
    }
    kinds
};
