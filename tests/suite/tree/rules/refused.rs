//! What is refused at the spawn, with the path of what is wrong, and nothing registered.

use super::*;
use AutoShutdown::{AllSignificant, AllTerminated, AnySignificant, Never};
use janus_supervisor::{BackoffConfig, JanusService, SpawnError};
use std::time::Duration;

/// That it is refused with this text, that nothing has changed, and that all of it was dropped.
#[expect(clippy::expect_used, reason = "part of a test")]
async fn refused_by(scene: &Scene, group: Group, text: &str) -> SpawnError {
    let facts = |scene: &Scene| {
        (
            scene.supervisor.snapshot().metrics,
            scene.phases(),
            scene.recorder.events().len(),
        )
    };
    let before = facts(scene);
    let witness = steady("witness of its drop");
    let log = witness.log();
    let group = group.service(witness);
    let error = scene.supervisor.spawn_group(group).expect_err(text);
    assert_eq!(error.to_string(), text);
    settle().await;
    assert_eq!(facts(scene), before, "{text}");
    assert_eq!((log.starts(), Arc::strong_count(&log)), (0, 1), "{text}");
    error
}

async fn refused(group: Group, text: &str) -> SpawnError {
    let scene = Scene::new();
    scene.spawn(Group::new("live").service(steady("child")));
    settle().await;
    refused_by(&scene, group, text).await
}

fn deep(inside: impl FnOnce(Group) -> Group) -> Group {
    let inner = inside(Group::new("h").service(steady("good")));
    Group::new("g").service(steady("good")).group(inner)
}

/// OTP: child_specs: `significant` with `auto_shutdown` never.
#[tokio::test(start_paused = true)]
async fn a_significant_child_under_a_rule_that_knows_no_significance() {
    let rule = "it is significant, but its parent's AutoShutdown is neither AnySignificant nor AllSignificant";
    for parent in [Never, AllTerminated] {
        let group = Group::new("g")
            .auto_shutdown(parent)
            .service_with_options(steady("child"), significant());
        let text = format!(r#"invalid options of "g/child": {rule}"#);
        let error = refused(group, &text).await;
        assert!(matches!(
            error,
            SpawnError::InvalidOptions { name, rule: why } if name == "g/child" && why == rule
        ));
        let group = deep(|inner| inner.significant()).auto_shutdown(parent);
        refused(group, &format!(r#"invalid options of "g/h": {rule}"#)).await;
        let group = deep(|inner| {
            inner
                .auto_shutdown(parent)
                .service_with_options(steady("c"), significant())
        });
        // The rule of the parent counts, not that of the grandparent.
        let group = group.auto_shutdown(AnySignificant);
        refused(group, &format!(r#"invalid options of "g/h/c": {rule}"#)).await;

        let scene = scene_with(|config| config.with_auto_shutdown(parent));
        let text = format!(r#"invalid options of "g": {rule}"#);
        refused_by(&scene, Group::new("g").significant(), &text).await;
        let text = format!(r#"invalid options of "s": {rule}"#);
        let service = scene
            .supervisor
            .spawn_service_with_options(steady("s"), significant());
        assert_eq!(service.unwrap_err().to_string(), text);
        assert_eq!(scene.supervisor.service_count().await, 0);
    }
}

/// OTP: child_specs: `significant` with permanent.
#[tokio::test(start_paused = true)]
async fn a_significant_child_that_never_ends_by_itself() {
    let rule = "it is significant, but under RestartPolicy::Always it never ends by itself";
    for parent in [AnySignificant, AllSignificant] {
        let script = || steady("child").policy(RestartPolicy::Always);
        let group = Group::new("g")
            .auto_shutdown(parent)
            .service_with_options(script(), significant());
        let text = format!(r#"invalid options of "g/child": {rule}"#);
        refused(group, &text).await;
        // The policy that counts is that of the options.
        let never = significant().with_restart_policy(RestartPolicy::Never);
        let group = Group::new("g")
            .auto_shutdown(parent)
            .service_with_options(script(), never);
        assert!(Scene::new().supervisor.spawn_group(group).is_ok());
        let always = significant().with_restart_policy(RestartPolicy::Always);
        let group = Group::new("g")
            .auto_shutdown(parent)
            .service_with_options(steady("child"), always.clone());
        refused(group, &text).await;
        let group = deep(|inner| inner.significant().restart_policy(RestartPolicy::Always));
        let text = format!(r#"invalid options of "g/h": {rule}"#);
        refused(group.auto_shutdown(parent), &text).await;

        let scene = scene_with(|config| config.with_auto_shutdown(parent));
        let service = scene
            .supervisor
            .spawn_service_with_options(steady("s"), always);
        let text = format!(r#"invalid options of "s": {rule}"#);
        assert_eq!(service.unwrap_err().to_string(), text);
    }
}

/// OTP: sup_flags: period 0.
#[tokio::test(start_paused = true)]
async fn an_intensity_without_a_period() {
    let none = Intensity::new(1, Duration::ZERO);
    let rule = "the period of its intensity is zero";
    let text = format!(r#"invalid options of "g": {rule}"#);
    refused(Group::new("g").intensity(none), &text).await;
    let text = format!(r#"invalid options of "g/h": {rule}"#);
    refused(deep(|inner| inner.intensity(none)), &text).await;
    // The supervisor's own is named with the first that is spawned.
    let rule = "the period of the supervisor's intensity is zero";
    let scene = scene_with(|config| config.with_intensity(none));
    let text = format!(r#"invalid options of "g": {rule}"#);
    refused_by(&scene, Group::new("g"), &text).await;
    let service = scene.supervisor.spawn_service(steady("s"));
    let text = format!(r#"invalid options of "s": {rule}"#);
    assert_eq!(service.unwrap_err().to_string(), text);
    // Any other will do.
    for within in [Duration::from_nanos(1), Duration::MAX] {
        let group = Group::new("g").intensity(Intensity::new(u32::MAX, within));
        assert!(Scene::new().supervisor.spawn_group(group).is_ok());
    }
}

/// OTP: child_specs: duplicates.
#[tokio::test(start_paused = true)]
async fn two_children_of_one_name() {
    let rule = "another child of its group has that name";
    let group = Group::new("g").service(steady("a")).service(steady("a"));
    refused(group, &format!(r#"invalid options of "g/a": {rule}"#)).await;
    let group = deep(|inner| inner.group(Group::new("good")));
    refused(group, &format!(r#"invalid options of "g/h/good": {rule}"#)).await;
    // Of different groups, also of one inside the other, they may have the same.
    let group = Group::new("g").group(Group::new("g").service(steady("g")));
    assert!(Scene::new().supervisor.spawn_group(group).is_ok());
}

/// D: what names may be, wherever they stand.
#[tokio::test(start_paused = true)]
async fn a_name_that_breaks_a_rule() {
    let slash = "it must not contain '/', which separates the parts of a path";
    let control = "it must not contain control characters";
    for (bad, shown, rule) in [
        ("", "", "it must not be empty"),
        ("/", "/", slash),
        ("a/b", "a/b", slash),
        ("a\n", r"a\n", control),
        ("\u{1b}[31m", r"\u{1b}[31m", control),
    ] {
        let text = |path: &str| format!(r#"invalid service name "{path}{shown}": {rule}"#);
        let error = refused(Group::new(bad), &text("")).await;
        assert!(matches!(error, SpawnError::InvalidName { name, .. } if name == bad));
        refused(Group::new("g").service(steady(bad)), &text("g/")).await;
        refused(deep(|inner| inner.service(steady(bad))), &text("g/h/")).await;
        refused(deep(|inner| inner.group(Group::new(bad))), &text("g/h/")).await;
    }
}

/// D41: the children of a group have their order already.
#[tokio::test(start_paused = true)]
async fn a_dependency_inside_a_group() {
    let rule = "`after` is for the supervisor's own services; the children of a group start in the order they are given";
    let options = || SpawnOptions::default().after(["live"]);
    let group = Group::new("g").service_with_options(steady("c"), options());
    refused(group, &format!(r#"invalid options of "g/c": {rule}"#)).await;
    let group = deep(|inner| inner.service_with_options(steady("c"), options()));
    refused(group, &format!(r#"invalid options of "g/h/c": {rule}"#)).await;
    let group = deep(|inner| inner.after(["live"]));
    refused(group, &format!(r#"invalid options of "g/h": {rule}"#)).await;
}

/// A10: the user's code.
#[tokio::test(start_paused = true)]
async fn a_child_whose_name_or_policy_panics() {
    struct Nameless(bool);

    impl JanusService for Nameless {
        fn name(&self) -> &str {
            assert!(self.0, "no name today");
            "named"
        }

        fn restart_policy(&self) -> RestartPolicy {
            panic!("no policy either")
        }

        async fn run(&self, _cancel: CancellationToken) -> Result<(), ServiceError> {
            Ok(())
        }
    }

    for (has_name, path, text) in [
        (false, "g/h/?", "no name today"),
        (true, "g/h/named", "no policy either"),
    ] {
        let text = format!(
            r#"cannot spawn service "{path}": its name() or restart_policy() panicked: {text}"#
        );
        let group = deep(|inner| inner.service(Nameless(has_name)));
        let error = refused(group, &text).await;
        assert!(matches!(error, SpawnError::Panicked { .. }));
    }
}

/// D: a grandchild's settings are checked as everybody's.
#[tokio::test(start_paused = true)]
async fn a_backoff_that_cannot_be() {
    let wrong = BackoffConfig::new(secs(2), secs(1));
    let why = wrong.validate().unwrap_err();
    let text = |name| format!(r#"invalid backoff configuration of service "{name}": {why}"#);
    let options = SpawnOptions::with_backoff(wrong.clone());
    let group = deep(|inner| inner.service_with_options(steady("c"), options));
    let error = refused(group, &text("g/h/c")).await;
    assert!(matches!(error, SpawnError::InvalidConfig { name, .. } if name == "g/h/c"));
    let group = deep(|inner| inner.backoff(wrong.clone()));
    refused(group, &text("g/h")).await;
    refused(Group::new("g").backoff(wrong.clone()), &text("g")).await;
    // The supervisor's default is checked where it is used, from the outside in.
    let scene = scene_with(|config| config.with_default_backoff(wrong));
    let group = || Group::new("g").service(steady("c"));
    refused_by(&scene, group(), &text("g")).await;
    let brings_its_own = group().backoff(BackoffConfig::default());
    refused_by(&scene, brings_its_own, &text("g/c")).await;
}

/// E47, E49
#[tokio::test(start_paused = true)]
async fn a_group_whose_name_is_in_use_or_that_comes_too_late() {
    let text = "a service named \"live\" is running already: names of live services must differ";
    refused(Group::new("live"), text).await;
    let scene = Scene::new();
    scene.spawn(Group::new("live").service(steady("child")));
    let text = "a service named \"live\" is starting already: names of live services must differ";
    let refused = scene.supervisor.spawn_group(Group::new("live"));
    assert_eq!(refused.unwrap_err().to_string(), text);
    settle().await;
    let service = scene.supervisor.spawn_service(steady("live"));
    let text = "a service named \"live\" is running already: names of live services must differ";
    assert_eq!(service.unwrap_err().to_string(), text);
    assert_eq!(scene.snapshot("live/child").phase, ServicePhase::Running);

    scene.supervisor.trigger_shutdown();
    let text = "cannot spawn service \"g\": the supervisor is shutting down";
    let late = scene
        .supervisor
        .spawn_group(Group::new("g").service(steady("c")));
    assert_eq!(late.unwrap_err().to_string(), text);
    within_an_hour(scene.supervisor.wait_for_drain()).await;
    let late = scene
        .supervisor
        .spawn_group(Group::new("g").service(steady("c")));
    assert_eq!(late.unwrap_err().to_string(), text);
    assert_eq!(scene.supervisor.service_count().await, 2);
}

#[test]
fn a_group_without_a_runtime() {
    let recorder = Arc::<Recorder>::default();
    let supervisor = JanusSupervisor::new(config(&recorder));
    let group = Group::new("g").service(steady("c"));
    let text = "cannot spawn service \"g\": not inside a tokio runtime";
    assert_eq!(supervisor.spawn_group(group).unwrap_err().to_string(), text);
    assert!(supervisor.snapshot().services.is_empty());
    assert!(recorder.events().is_empty());
}

/// As for the supervisor's own services.
#[tokio::test(start_paused = true)]
async fn a_child_on_a_runtime_without_a_clock() {
    let bare = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let on = || SpawnOptions::default().on(bare.handle().clone());
    let group = Group::new("g").service_with_options(steady("child"), on());
    let no_clock = |name| {
        let rule = "the tokio runtime has no time driver; build it with enable_time or enable_all";
        format!("cannot spawn service {name:?}: {rule}")
    };
    let error = refused(group, &no_clock("g/child")).await;
    assert!(matches!(error, SpawnError::NoTimeDriver { name } if name == "g/child"));
    let group = deep(|inner| inner.service_with_options(steady("child"), on()));
    refused(group, &no_clock("g/h/child")).await;
    bare.shutdown_background();
}

/// Deeper ones would need more stack than there may be.
#[tokio::test(start_paused = true)]
async fn groups_that_are_nested_too_deeply() {
    let nested = |depth: usize| {
        let around = |inner: Group, _| Group::new("g").group(inner);
        (0..depth).fold(Group::new("g").service(steady("child")), around)
    };
    let scene = Scene::new();
    let whole = scene.spawn(nested(100));
    settle().await;
    let path = "g/".repeat(101) + "child";
    assert_eq!(scene.snapshot(&path).phase, ServicePhase::Running);
    within_an_hour(whole.stop()).await;

    let path = "g/".repeat(101) + "g";
    let rule = "groups are nested too deeply: by more than 100";
    refused(nested(101), &format!("invalid options of {path:?}: {rule}")).await;
}
