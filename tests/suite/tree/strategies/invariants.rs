//! What holds at all times, however large the group and whatever happens.

use super::*;
use janus_supervisor::{Observer, ServiceEvent, SupervisorMetrics};
use std::sync::OnceLock;

/// D35, D36, I91: nobody is left behind, and nobody is asked twice.
#[tokio::test(start_paused = true)]
async fn a_thousand_children_restart_in_one_pass() {
    for (strategy, first) in [(Strategy::OneForAll, 0), (Strategy::RestForOne, 500)] {
        let scene = Scene::new();
        let names: Vec<_> = (0..1000).map(|n| format!("{n}")).collect();
        let mut group = Group::new("g").strategy(strategy);
        for (n, name) in names.iter().enumerate() {
            group = match n {
                500 => group.service(failing(name, [50])),
                _ => group.service(steady(name)),
            };
        }
        scene.spawn(group);
        until(scene.t0, 1000).await;

        let moved = &names[first..];
        let mut expected = vec!["50 500 ends".to_owned()];
        let siblings = moved.iter().rev().filter(|name| *name != "500");
        expected.extend(siblings.map(|name| format!("50 {name} ends")));
        expected.extend(moved.iter().map(|name| format!("150 {name} begins")));
        assert_eq!(scene.runs_since(1, "g"), expected, "{strategy}");
        assert_eq!(scene.phases_in("g"), vec![ServicePhase::Running; 1000]);
        let restarts = scene.supervisor.metrics().snapshot().restarts_total;
        assert_eq!(restarts, moved.len() as u64, "{strategy}");
        assert_eq!(scene.snapshot("g").start_count, 1);
        scene.supervisor.trigger_shutdown();
        assert!(
            within_an_hour(scene.supervisor.wait_for_drain())
                .await
                .is_clean()
        );
        scene.audit();
    }
}

/// Counts the events at which the supervisor's numbers do not add up.
#[derive(Default)]
struct Auditor {
    metrics: OnceLock<Arc<SupervisorMetrics>>,
    seen: AtomicUsize,
    wrong: AtomicUsize,
}

impl Observer for Auditor {
    fn observe(&self, _event: &ServiceEvent) {
        let metrics = self.metrics.get().unwrap().snapshot();
        let sum = metrics.active_services + metrics.terminated_total;
        self.seen.fetch_add(1, SeqCst);
        if metrics.spawned_total != sum {
            self.wrong.fetch_add(1, SeqCst);
        }
    }
}

/// The dice of all tests, and what a history is made of.
struct Dice(janus_tests::Dice);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0.below(sides)
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.roll(all.len() as u64) as usize]
    }

    fn turn(&mut self) -> Turn {
        let within = ms(self.roll(40));
        match self.roll(12) {
            0..=3 => Turn::until_cancelled(),
            4 | 5 => Turn::Fail("by chance").after(within),
            6 => Turn::Fail("at once"),
            7 => Turn::Complete.after(within),
            8 => Turn::Panic("by chance").after(within),
            9 => Turn::Fail("on the way out").after(within).when_cancelled(),
            10 => Turn::FailForGood("for good").after(within),
            _ => Turn::Hang,
        }
    }

    fn service(&mut self, name: String) -> (Script, SpawnOptions) {
        let turns: Vec<_> = (0..4).map(|_| self.turn()).collect();
        let script = Script::new(name, turns).policy(self.one_of(&RestartPolicy::ALL));
        let backoff = if self.roll(3) == 0 {
            breaker(3)
        } else {
            every(self.roll(3) * 10)
        };
        let grace = ms(self.roll(3) * 20);
        let options = SpawnOptions::with_backoff(backoff).with_shutdown_grace(grace);
        (script, options)
    }

    fn group(
        &mut self,
        name: &str,
        levels: u32,
        log: &mut Vec<Arc<janus_tests::ScriptLog>>,
    ) -> Group {
        let intensity = Intensity::new(self.roll(6) as u32, ms(200));
        let mut group = Group::new(name)
            .strategy(self.one_of(&STRATEGIES))
            .intensity(intensity)
            .backoff(every(10 + self.roll(3) * 10))
            .restart_policy(self.one_of(&RestartPolicy::ALL));
        for n in 0..2 + self.roll(3) {
            if levels > 0 && self.roll(2) == 0 {
                group = group.group(self.group(&format!("g{n}"), levels - 1, log));
            } else {
                let (script, options) = self.service(format!("s{n}"));
                log.push(script.log());
                group = group.service_with_options(script, options);
            }
        }
        group
    }
}

/// DESIGN 8: spawned = active + terminated at all times; every story is whole; one run of a service at a time; after
/// the drain nothing is left. For trees put together by chance, in which some are stopped by chance.
#[tokio::test(start_paused = true)]
async fn whatever_happens_in_a_tree_its_numbers_add_up_and_nothing_is_left() {
    let mut restarts = 0;
    for seed in 0..200 {
        let mut dice = Dice(janus_tests::Dice::new(seed));
        let recorder = Arc::<Recorder>::default();
        let auditor = Arc::<Auditor>::default();
        let config = config(&recorder).with_observer(Arc::clone(&auditor) as Arc<_>);
        let t0 = tokio::time::Instant::now().into_std();
        let supervisor = JanusSupervisor::new(config);
        auditor
            .metrics
            .set(Arc::clone(supervisor.metrics()))
            .unwrap();
        let scene = Scene {
            supervisor,
            recorder,
            t0,
        };
        let mut logs = Vec::new();
        scene.spawn(dice.group("top", 2, &mut logs));
        for _ in 0..5 {
            tokio::time::sleep(ms(dice.roll(60))).await;
            let names = scene.phases();
            let (name, ..) = &names[dice.roll(names.len() as u64) as usize];
            if name != "top" {
                scene.supervisor.service(name).unwrap().request_stop();
            }
        }
        let asked = scene.elapsed();
        scene.supervisor.trigger_shutdown();
        within_an_hour(scene.supervisor.wait_for_drain()).await;
        // Each has at most 40 ms of grace, one after the other.
        let bound = asked + 41 * logs.len() as u128;
        assert!(
            scene.elapsed() <= bound,
            "seed {seed}: {} > {bound}",
            scene.elapsed()
        );
        assert!(
            scene
                .phases()
                .iter()
                .all(|(_, phase, _)| phase.is_terminal()),
            "seed {seed}"
        );
        let metrics = scene.supervisor.metrics().snapshot();
        assert_eq!(metrics.active_services, 0, "seed {seed}");
        assert_eq!(auditor.wrong.load(SeqCst), 0, "seed {seed}");
        assert!(auditor.seen.load(SeqCst) > 0);
        for log in logs {
            assert_eq!((log.overlaps(), log.in_progress()), (0, 0), "seed {seed}");
        }
        if let Err(fault) = Story::of_each(&scene.recorder.events()) {
            panic!("seed {seed}: {fault}");
        }
        scene.audit();
        restarts += metrics.restarts_total;
    }
    assert!(restarts > 500, "chance has had its way: {restarts}");
}
