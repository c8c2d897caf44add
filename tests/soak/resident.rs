//! The services that are there from the beginning of the storm to its end.

use crate::fate::{Checked, live};
use crate::sky::{Sky, Weather};
use anyhow::Result;
use janus_supervisor::{
    BackoffConfig, CancellationToken, Group, Intensity, JanusService, JanusSupervisor, Readiness,
    RestartPolicy, ServiceError, SpawnOptions, Strategy, notify,
};
use janus_tests::{Dice, ms, secs};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::sleep;

/// A group for so many residents.
const RESIDENTS_PER_GROUP: usize = 50;

/// No run in the storm lasts longer, unless it hangs.
const LONGEST_RUN: Duration = ms(300);

/// A service that lives one fate after another in the storm, and waits in the calm.
struct Resident {
    name: String,
    checked: Checked,
    sky: Sky,
    dice: Mutex<Dice>,
}

impl Resident {
    fn new(name: String, checked: Checked, sky: &Sky, dice: &mut Dice) -> Self {
        Self {
            name,
            checked,
            sky: sky.clone(),
            dice: Mutex::new(dice.split()),
        }
    }

    /// Waits, and says now and then that it is alive.
    async fn idle(&self) {
        loop {
            notify::heartbeat();
            let pause = match self.checked {
                Checked::Watched => ms(100),
                Checked::Unchecked | Checked::Late => secs(3600),
            };
            tokio::select! {
                () = self.sky.no_longer_calm() => return,
                () = sleep(pause) => {}
            }
        }
    }
}

impl JanusService for Resident {
    fn name(&self) -> &str {
        &self.name
    }

    fn restart_policy(&self) -> RestartPolicy {
        RestartPolicy::Always
    }

    async fn run(&self, cancel: CancellationToken) -> Result<(), ServiceError> {
        if self.sky.weather() == Weather::Calm {
            notify::ready();
            // What comes in the storm is for another run: this one has said that it is ready, so it would not be late.
            cancel.run_until_cancelled(self.idle()).await;
            return Ok(());
        }
        let dice = self
            .dice
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .split();
        live(dice, self.sky.weather(), self.checked, LONGEST_RUN, cancel).await
    }
}

/// Spawns residents, and groups of them.
pub(crate) fn settle(
    supervisor: &JanusSupervisor,
    sky: &Sky,
    n: usize,
    dice: &mut Dice,
) -> Result<()> {
    for i in 0..n {
        let checked = checks(dice);
        let resident = Resident::new(name(i), checked, sky, dice);
        supervisor.spawn_service_with_options(resident, options(checked, dice))?;
    }
    for i in 0..n.div_ceil(RESIDENTS_PER_GROUP) {
        supervisor.spawn_group(family(format!("family-{i}"), sky, dice))?;
    }
    Ok(())
}

/// What the i-th resident is called.
pub(crate) fn name(i: usize) -> String {
    format!("resident-{i}")
}

/// Three residents and a group of two. Its intensity is exceeded now and then, so that it fails as a whole and is built
/// anew.
fn family(name: String, sky: &Sky, dice: &mut Dice) -> Group {
    let inner = bare_group("inner".to_owned(), dice);
    let inner = with_children(inner, &["d", "e"], sky, dice);
    let outer = bare_group(name, dice);
    with_children(outer, &["a", "b", "c"], sky, dice).group(inner)
}

fn bare_group(name: String, dice: &mut Dice) -> Group {
    let strategies = [
        Strategy::OneForOne,
        Strategy::OneForAll,
        Strategy::RestForOne,
    ];
    Group::new(name)
        .strategy(dice.pick(&strategies).unwrap_or_default())
        .intensity(Intensity::new(5, secs(1)))
        .restart_policy(RestartPolicy::Always)
        .backoff(backoff())
}

fn with_children(mut group: Group, names: &[&str], sky: &Sky, dice: &mut Dice) -> Group {
    for name in names {
        let checked = checks(dice);
        let child = Resident::new((*name).to_owned(), checked, sky, dice);
        group = group.service_with_options(child, options(checked, dice));
    }
    group
}

fn checks(dice: &mut Dice) -> Checked {
    match dice.below(8) {
        0 => Checked::Watched,
        1 => Checked::Late,
        _ => Checked::Unchecked,
    }
}

/// Back soon, for ever.
pub(crate) fn backoff() -> BackoffConfig {
    BackoffConfig::new(ms(5), ms(50))
        .with_cooldown(ms(200))
        .without_circuit_breaker()
}

fn options(checked: Checked, dice: &mut Dice) -> SpawnOptions {
    let mut backoff = backoff();
    if dice.one_in(8) {
        // Opens now and then; a run may try soon afterwards.
        backoff = backoff
            .with_circuit_breaker(4, secs(1))
            .with_half_open_after(ms(100));
    }
    let options = SpawnOptions::with_backoff(backoff).with_shutdown_grace(ms(500));
    match checked {
        Checked::Unchecked => options,
        Checked::Watched => options.with_watchdog(ms(400)),
        Checked::Late => options
            .with_readiness(Readiness::Notify)
            .with_start_timeout(ms(400)),
    }
}
