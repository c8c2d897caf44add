//! `Removed`: the last event of a service, told once, whichever way the supervisor forgot it.

use janus_supervisor::{
    EventKind, JanusSupervisor, Observer, ServiceEvent, ServicePhase, SpawnOptions,
};
use janus_tests::{Recorder, Script, Story, Turn, config, ms};
use std::sync::{Arc, Mutex, PoisonError};

/// How many events say that a service of this name was removed.
fn removals(recorder: &Recorder, name: &str) -> usize {
    recorder.count(|event| &*event.service == name && matches!(event.kind, EventKind::Removed))
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_removed_says_so_last() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    for name in ["one", "two", "three"] {
        let script = Script::new(name, [Turn::Complete]);
        let handle = supervisor.spawn_service(script).unwrap();
        handle.terminated().await;
    }
    supervisor.spawn_service(Script::new("alive", [])).unwrap();
    supervisor.remove_service("two").unwrap();
    supervisor.remove_service("two").unwrap_err();
    supervisor.remove_service("alive").unwrap_err();
    let removed = |names: [&str; 4]| names.map(|name| removals(&recorder, name));
    assert_eq!(removed(["one", "two", "three", "alive"]), [0, 1, 0, 0]);

    supervisor.remove_terminated();
    assert_eq!(removed(["one", "two", "three", "alive"]), [1, 1, 1, 0]);
    for story in Story::of_each(&recorder.events()).unwrap().values() {
        assert_eq!(story.removed, story.end.is_some());
    }
}

/// E47
#[tokio::test(start_paused = true)]
async fn a_service_whose_name_is_used_again_is_removed() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    for _ in 0..5 {
        let script = Script::new("one", [Turn::Complete]);
        let handle = supervisor.spawn_service(script).unwrap();
        handle.terminated().await;
    }
    assert_eq!(removals(&recorder, "one"), 4);
    assert_eq!(supervisor.service_count().await, 1);
    let stories = Story::of_each(&recorder.events()).unwrap();
    let removed: Vec<_> = stories.values().map(|story| story.removed).collect();
    assert_eq!(removed, [true, true, true, true, false]);
}

/// A refused spawn, or a removal of what is not there, is nothing that happens to anybody.
#[tokio::test(start_paused = true)]
async fn what_is_refused_is_no_event() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    supervisor.spawn_service(Script::new("one", [])).unwrap();
    tokio::task::yield_now().await;
    let before = recorder.events().len();
    let bad = janus_tests::backoff().with_cooldown(ms(0));
    supervisor
        .spawn_service(Script::new("one", []))
        .unwrap_err();
    supervisor.spawn_service(Script::new("", [])).unwrap_err();
    supervisor
        .spawn_service_with_options(Script::new("two", []), SpawnOptions::with_backoff(bad))
        .unwrap_err();
    supervisor.remove_service("one").unwrap_err();
    supervisor.remove_service("two").unwrap_err();
    assert_eq!(recorder.events().len(), before);
    assert_eq!(supervisor.metrics().snapshot().spawned_total, 1);
}

/// Removes, or replaces, a service as soon as it can: from inside the events of its end.
struct Eager {
    supervisor: Mutex<Option<JanusSupervisor>>,
    respawn: bool,
}

impl Observer for Eager {
    fn observe(&self, event: &ServiceEvent) {
        let over = event.run < 5
            && matches!(
                event.kind,
                EventKind::RunEnded { .. } | EventKind::Terminated { .. }
            );
        let supervisor = self.supervisor.lock();
        let supervisor = supervisor.unwrap_or_else(PoisonError::into_inner).clone();
        let Some(supervisor) = supervisor.filter(|_| over && &*event.service == "one") else {
            return;
        };
        if self.respawn {
            // Refused while the old one has not ended.
            let _spawned = supervisor.spawn_service(Script::new("one", []));
        } else {
            let _removed = supervisor.remove_service("one");
        }
    }
}

/// The first observer changes the registry while the others have yet to hear of the end: they hear it all the same, in
/// order.
#[tokio::test(start_paused = true)]
async fn removed_stays_last_even_if_an_observer_cannot_wait() {
    for respawn in [false, true] {
        let recorder = Arc::new(Recorder::default());
        let eager = Arc::new(Eager {
            supervisor: Mutex::new(None),
            respawn,
        });
        let mut config = config(&recorder);
        config.observers.insert(0, Arc::clone(&eager) as Arc<_>);
        let supervisor = JanusSupervisor::new(config);
        *eager.supervisor.lock().unwrap() = Some(supervisor.clone());
        let script = Script::new("one", [Turn::Complete]);
        let first = supervisor.spawn_service(script).unwrap();
        first.terminated().await;
        tokio::task::yield_now().await;

        let stories = Story::of_each(&recorder.events()).unwrap();
        let first = stories.values().next().unwrap();
        assert!(first.removed && first.end.is_some(), "{first:?}");
        assert_eq!(stories.len(), 1 + usize::from(respawn));
        let second = supervisor.service("one").map(|service| service.phase());
        assert_eq!(second, respawn.then_some(ServicePhase::Running));
        *eager.supervisor.lock().unwrap() = None;
    }
}
