//! Panics in an observer.

use super::{Bomb, Scene};
use janus_supervisor::{Observer, ServiceEvent, ServicePhase, TerminationReason};
use janus_tests::{Script, Turn, secs, within_an_hour};
use std::panic::panic_any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

/// Panics at every event that it is told of, and counts them.
#[derive(Default)]
struct Nervous {
    seen: AtomicU32,
    with_a_bomb: bool,
}

impl Observer for Nervous {
    fn observe(&self, event: &ServiceEvent) {
        self.seen.fetch_add(1, SeqCst);
        if self.with_a_bomb {
            panic_any(Bomb);
        }
        panic!("{} at {}", event.kind.phase().is_some(), event.seq);
    }
}

/// No change is lost for it, the other observers are told all the same, and it is told of the next event as of any.
#[tokio::test(start_paused = true)]
async fn a_panic_in_an_observer_is_nobody_elses_business() {
    let nervous = Arc::new(Nervous::default());
    let rude = Arc::new(Nervous {
        with_a_bomb: true,
        ..Nervous::default()
    });
    let scene = Scene::observed_by([
        Arc::clone(&nervous) as Arc<dyn Observer>,
        Arc::clone(&rude) as _,
    ]);
    let turns = [
        Turn::Fail("a"),
        Turn::Panic("b"),
        Turn::Complete.when_cancelled(),
    ];
    let feed = scene
        .supervisor
        .spawn_service(Script::new("feed", turns))
        .unwrap();
    let job = Script::new("job", [Turn::FailForGood("no key")]);
    let job = scene.supervisor.spawn_service(job).unwrap();
    assert_eq!(
        within_an_hour(job.terminated()).await,
        TerminationReason::Unrecoverable("no key".into())
    );
    tokio::time::sleep(secs(1)).await;
    assert_eq!(feed.phase(), ServicePhase::Running);
    assert_eq!(feed.snapshot().start_count, 3);
    assert_eq!(
        within_an_hour(feed.stop()).await,
        TerminationReason::Cancelled
    );
    scene.supervisor.remove_service("job").unwrap();

    assert_eq!(
        scene.trace_of("feed"),
        [
            "0 run 1 registered",
            "0 run 1 running",
            "0 run 1 failed (error): a",
            "0 run 1 backing off #1 for 100ms",
            "100 run 2 restarting",
            "100 run 2 running",
            "100 run 2 failed (panic): panicked: b",
            "100 run 2 backing off #2 for 200ms",
            "300 run 3 restarting",
            "300 run 3 running",
            "1000 run 3 stopping",
            "1000 run 3 cancelled",
            "1000 run 3 terminated: cancelled",
        ]
    );
    assert_eq!(scene.trace_of("job")[4], "1000 run 1 removed");
    let told = scene.recorder.events().len();
    assert_eq!(nervous.seen.load(SeqCst) as usize, told);
    assert_eq!(rude.seen.load(SeqCst) as usize, told);
    scene.end(&[]).await;
    // The shutdown of the sibling was told, too.
    assert_eq!(nervous.seen.load(SeqCst) as usize, told + 3);
}
