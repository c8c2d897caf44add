//! The events of a service lead to the very state that its snapshot shows, whatever has happened to it. FIELD G78,
//! DESIGN 6.

use futures_util::{FutureExt, StreamExt};
use janus_supervisor::{
    AutoShutdown, BackoffConfig, CancellationToken, Group, Intensity, JanusService,
    JanusSupervisor, Jitter, Readiness, RestartPolicy, ServiceError, ServiceEvent, ServiceHandle,
    ServiceLifecycle, ServicePhase, SpawnOptions, Strategy, Subscription, SupervisorConfig, notify,
};
use janus_tests::{Script, Story, Turn, ms, secs, settle};
use std::collections::BTreeMap;
use tokio::time::Instant;

/// The dice of all tests, and what a history is made of.
struct Dice(janus_tests::Dice);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0.below(sides)
    }

    fn one_in(&mut self, sides: u64) -> bool {
        self.roll(sides) == 0
    }

    fn one_of<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.roll(all.len() as u64) as usize].clone()
    }

    fn turn(&mut self) -> Turn {
        let end = match self.roll(10) {
            0..=2 => Turn::Fail("a"),
            3 => Turn::Panic("b"),
            4 => Turn::Complete,
            5 => Turn::Fail("c").when_cancelled(),
            6 if self.one_in(2) => Turn::FailForGood("d"),
            7 => Turn::Hang,
            8 => Turn::Complete.after_cancelling_itself(),
            _ => Turn::until_cancelled(),
        };
        let late = ms(self.roll(120));
        if self.one_in(4) { end } else { end.after(late) }
    }

    fn backoff(&mut self) -> BackoffConfig {
        let backoff = BackoffConfig::new(ms(1 + self.roll(60)), ms(200))
            .with_jitter(self.one_of(&[Jitter::None, Jitter::Full, Jitter::Decorrelated]))
            .with_cooldown(ms(40 + self.roll(200)))
            .with_circuit_breaker(self.one_of(&[0, 2, 3]), self.one_of(&[ms(200), secs(9)]));
        if self.one_in(3) && backoff.has_circuit_breaker() {
            backoff.with_half_open_after(ms(30 + self.roll(200)))
        } else {
            backoff
        }
    }

    fn service(&mut self, name: String) -> (Chatty, SpawnOptions) {
        let turns: Vec<_> = (0..=self.roll(5)).map(|_| self.turn()).collect();
        let script = Script::new(name, turns).policy(self.one_of(&RestartPolicy::ALL));
        let mut options =
            SpawnOptions::with_backoff(self.backoff()).with_shutdown_grace(ms(self.roll(80)));
        if self.one_in(3) {
            options = options.with_readiness(Readiness::Notify);
            if self.one_in(2) {
                options = options.with_start_timeout(ms(20 + self.roll(60)));
            }
        }
        if self.one_in(3) {
            options = options.with_watchdog(ms(40 + self.roll(60)));
        }
        if self.one_in(4) {
            options = options.ephemeral();
        }
        let says = ms(self.roll(50));
        (Chatty { script, says }, options)
    }

    fn group(&mut self, name: &str) -> Group {
        let strategies = [
            Strategy::OneForOne,
            Strategy::OneForAll,
            Strategy::RestForOne,
        ];
        let mut group = Group::new(name)
            .strategy(self.one_of(&strategies))
            .restart_policy(self.one_of(&RestartPolicy::ALL))
            .backoff(self.backoff())
            .intensity(Intensity::new(self.roll(4) as u32, ms(500)))
            .auto_shutdown(self.one_of(&[AutoShutdown::Never, AutoShutdown::AllTerminated]));
        for i in 0..self.roll(4) {
            let (service, options) = self.service(i.to_string());
            group = group.service_with_options(service, options);
        }
        if name == "g" && self.one_in(2) {
            group = group.group(self.group("h"));
        }
        group
    }
}

/// A script that says now and then, from its second moment on, that it is ready and alive.
struct Chatty {
    script: Script,
    says: std::time::Duration,
}

impl JanusService for Chatty {
    fn name(&self) -> &str {
        self.script.name()
    }

    fn restart_policy(&self) -> RestartPolicy {
        self.script.restart_policy()
    }

    async fn run(&self, cancel: CancellationToken) -> Result<(), ServiceError> {
        let chat = async {
            loop {
                tokio::time::sleep(self.says).await;
                notify::ready();
                notify::heartbeat();
                notify::status("chatting");
                tokio::time::sleep(ms(37)).await;
            }
        };
        tokio::select! {
            end = self.script.run(cancel) => end,
            never = chat => never,
        }
    }
}

/// Asks for something, and does not wait for it.
fn ask(dice: &mut Dice, it: ServiceHandle) {
    let kind = dice.roll(6);
    let patience = ms(dice.roll(100));
    tokio::spawn(async move {
        let asks = async {
            match kind {
                0 => it.request_stop(),
                1 => drop(it.stop().await),
                2 => drop(it.remove().await),
                _ => drop(it.restart().await),
            }
        };
        tokio::time::timeout(patience, asks).await
    });
}

/// What the events have told so far.
#[derive(Default)]
struct Told {
    lives: BTreeMap<u64, ServiceLifecycle>,
    events: Vec<ServiceEvent>,
}

impl Told {
    fn listen(&mut self, events: &mut Subscription) {
        while let Some(Some(event)) = events.next().now_or_never() {
            match ServiceLifecycle::from_event(&event) {
                Some(begun) => drop(self.lives.insert(event.id, begun)),
                None => {
                    let life = self.lives.get_mut(&event.id);
                    life.unwrap().apply(&event).unwrap();
                }
            }
            self.events.push(event);
        }
        assert_eq!(events.missed(), 0);
    }

    /// Compares what was told with what is shown.
    fn compare(&self, supervisor: &JanusSupervisor, at: &str) {
        let now = Instant::now().into_std();
        for mut shown in supervisor.snapshot().services {
            let handle = supervisor.service(&shown.service_name).unwrap();
            // What a run says of itself is no event.
            shown.status = None;
            let replayed = self.lives[&handle.id()].snapshot(now);
            assert_eq!(replayed, shown, "{at}");
        }
    }
}

/// One history: services and a group come and go, and are asked for this and that.
async fn history(seed: u64) -> Vec<ServiceEvent> {
    let mut dice = Dice(janus_tests::Dice::new(seed));
    let settings = SupervisorConfig::default()
        .without_signal_handler()
        .with_seed(seed)
        .with_event_buffer(1 << 12);
    let supervisor = JanusSupervisor::new(settings);
    let mut events = supervisor.subscribe();
    let mut told = Told::default();
    supervisor.spawn_group(dice.group("g")).unwrap();
    let steps = 10 + dice.roll(15);
    for step in 0..steps + 5 {
        if step == steps {
            supervisor.trigger_shutdown();
        }
        match dice.roll(4) {
            0 => {
                let name = dice.one_of(&["a", "b", "c"]).to_owned();
                let (service, options) = dice.service(name);
                // The name may be taken, or it may be too late.
                let _spawned = supervisor.spawn_service_with_options(service, options);
            }
            1 | 2 => {
                let all = supervisor.snapshot().services;
                if !all.is_empty() {
                    let name = dice.one_of(&all).service_name;
                    ask(&mut dice, supervisor.service(&name).unwrap());
                }
            }
            _ => {}
        }
        // In the middle of things, too, and not only when all have settled.
        for _ in 0..dice.roll(3) {
            tokio::task::yield_now().await;
            told.listen(&mut events);
            told.compare(&supervisor, &format!("seed {seed}, in step {step}"));
        }
        tokio::time::sleep(ms(dice.roll(60))).await;
        settle().await;
        told.listen(&mut events);
        told.compare(&supervisor, &format!("seed {seed}, step {step}"));
    }
    supervisor.wait_for_drain().await;
    settle().await;
    told.listen(&mut events);
    told.compare(&supervisor, &format!("seed {seed}, at the end"));
    for (id, life) in &told.lives {
        let phase = life.phase();
        assert_eq!(phase, ServicePhase::Terminated, "seed {seed}, id {id}");
    }
    let stories = Story::of_each(&told.events);
    stories
        .map_err(|wrong| format!("seed {seed}: {wrong}"))
        .unwrap();
    told.events
}

/// G78, and the promise of `subscribe`: at every moment of some hundred random histories.
#[tokio::test(start_paused = true)]
async fn events_replay_to_the_snapshot_at_every_moment_of_random_histories() {
    let mut kinds = BTreeMap::<String, u32>::new();
    for seed in 0..300 {
        for event in history(seed).await {
            *kinds.entry(kind(&event)).or_default() += 1;
        }
    }
    // Otherwise the dice are loaded.
    for expected in [
        "Registered",
        "Running",
        "Restarting",
        "Recovered",
        "Reset",
        "BreakerOpened",
        "Stopping",
        "Removed",
        "failed error",
        "failed panic",
        "failed hang",
        "failed start_timeout",
        "ended Completed",
        "ended Cancelled(None)",
        "ended Cancelled(Some",
        "ended Aborted",
        "terminated completed",
        "terminated cancelled",
        "terminated circuit_breaker_open",
        "terminated unrecoverable",
        "terminated aborted",
    ] {
        let n: u32 = kinds
            .iter()
            .filter(|(kind, _)| kind.starts_with(expected))
            .map(|(_, n)| n)
            .sum();
        assert!(n >= 20, "{expected}: {n} of {kinds:?}");
    }
}

/// A short name for what happened.
fn kind(event: &ServiceEvent) -> String {
    use janus_supervisor::{EventKind, RunOutcome};
    match &event.kind {
        EventKind::RunEnded { outcome, .. } => match outcome {
            RunOutcome::Failed(failure) => format!("failed {}", failure.kind()),
            other => format!("ended {other:?}"),
        },
        EventKind::Terminated { reason } => format!("terminated {}", reason.as_str()),
        other => {
            let name = format!("{other:?}");
            name.split(' ').next().unwrap_or_default().to_owned()
        }
    }
}
