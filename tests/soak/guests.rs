//! Services that somebody spawns, stops, restarts and removes by hand.

use crate::fate::{Checked, live};
use crate::resident;
use crate::sky::{Sky, Weather};
use futures_util::future::join_all;
use janus_supervisor::{
    BackoffConfig, CancellationToken, Group, JanusService, JanusSupervisor, RestartPolicy,
    ServiceError, ServiceHandle, ServiceLifecycleSnapshot, ServicePhase, SpawnOptions, service_fn,
};
use janus_tests::{Dice, ms, secs};
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// So many names there are for guests; two of them never live at one time under one.
const NAMES: u64 = 64;

/// Nobody waits longer for an answer. Most come sooner.
const PATIENCE: Duration = ms(20);

/// A hand that is busy for as long as there is a storm.
pub(crate) async fn be_busy(
    supervisor: JanusSupervisor,
    sky: Sky,
    residents: usize,
    mut dice: Dice,
) {
    while sky.weather() != Weather::Calm {
        let name = format!("guest-{}", dice.below(NAMES));
        match dice.below(12) {
            // Refused while the name is in use, which is as good.
            0..=3 => drop(
                supervisor
                    .spawn_service_with_options(guest(name, &sky, &mut dice), options(&mut dice)),
            ),
            4 => drop(supervisor.spawn_group(party(name, &sky, &mut dice))),
            // Also of those who have not terminated, which is refused.
            5 => drop(supervisor.remove_service(&name)),
            6 => {
                supervisor.remove_terminated();
            }
            7 | 8 => {
                let i = usize::try_from(dice.below(residents as u64)).unwrap_or(0);
                if let Some(resident) = supervisor.service(&resident::name(i)) {
                    // Not every request is waited for to its end.
                    let _answer = timeout(dice.up_to(PATIENCE), resident.restart()).await;
                }
            }
            _ => {
                if let Some(guest) = supervisor.service(&name) {
                    attend(&guest, &mut dice).await;
                }
            }
        }
        sleep(dice.up_to(ms(2))).await;
    }
}

/// Does something to a guest, and perhaps waits for the answer.
async fn attend(guest: &ServiceHandle, dice: &mut Dice) {
    let patience = dice.up_to(PATIENCE);
    let _answered = match dice.below(6) {
        0 => timeout(patience, guest.stop()).await.is_ok(),
        1 | 2 => timeout(patience, guest.restart()).await.is_ok(),
        3 => timeout(patience, guest.remove()).await.is_ok(),
        4 => timeout(patience, guest.wait_for(ServicePhase::BackingOff))
            .await
            .is_ok(),
        _ => timeout(patience, guest.wait_ready()).await.is_ok(),
    };
}

/// Removes all guests, whatever they are at.
pub(crate) async fn see_off(supervisor: &JanusSupervisor) {
    let guests = (0..NAMES).filter_map(|i| supervisor.service(&format!("guest-{i}")));
    let guests: Vec<ServiceHandle> = guests.collect();
    join_all(guests.iter().map(ServiceHandle::remove)).await;
    supervisor.remove_terminated();
}

/// The guests that have not terminated.
pub(crate) fn left(supervisor: &JanusSupervisor) -> Vec<ServiceLifecycleSnapshot> {
    let mut services = supervisor.snapshot().services;
    services.retain(|one| one.service_name.starts_with("guest-") && !one.phase.is_terminal());
    services
}

fn guest(name: String, sky: &Sky, dice: &mut Dice) -> impl JanusService + use<> {
    let policies = [
        RestartPolicy::Always,
        RestartPolicy::OnFailure,
        RestartPolicy::Never,
    ];
    let policy = dice.pick(&policies).unwrap_or_default();
    let (sky, seed) = (sky.clone(), dice.any());
    let in_vain = dice.one_in(20);
    service_fn(name, move |cancel: CancellationToken| {
        let (dice, sky) = (Dice::new(seed), sky.clone());
        async move {
            if in_vain {
                return Err(ServiceError::permanent("in vain"));
            }
            live(dice, sky.weather(), Checked::Unchecked, ms(100), cancel).await
        }
    })
    .with_restart_policy(policy)
}

fn options(dice: &mut Dice) -> SpawnOptions {
    let backoff = BackoffConfig::new(ms(1), ms(5)).with_circuit_breaker(5, secs(10));
    SpawnOptions::with_backoff(backoff).with_shutdown_grace(dice.up_to(ms(10)))
}

fn party(name: String, sky: &Sky, dice: &mut Dice) -> Group {
    let mut group = Group::new(name);
    for child in ["a", "b"] {
        let service = guest(child.to_owned(), sky, dice);
        group = group.service_with_options(service, options(dice));
    }
    group
}
