//! What becomes of a run.

use crate::sky::Weather;
use janus_supervisor::{CancellationToken, ServiceError, notify};
use janus_tests::{Dice, ms};
use std::future::pending;
use std::panic::resume_unwind;
use std::time::Duration;
use tokio::time::sleep;

/// What a service's checks allow it: some ways to fail are noticed only by a service's supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Checked {
    /// By nothing: it must not hang.
    Unchecked,
    /// It has to show that it is alive.
    Watched,
    /// It has to say that it is ready.
    Late,
}

/// One way for a run to go.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Fail,
    FailWithChain,
    Panic,
    PanicInDrop,
    Complete,
    StopSlowly,
    IgnoreCancellation,
    Hang,
    LeaveTaskBehind,
    Spin,
}

/// Draws a fate and lives it. It lasts no longer than `longest`, unless it hangs.
pub(crate) async fn live(
    mut dice: Dice,
    weather: Weather,
    checked: Checked,
    longest: Duration,
    cancel: CancellationToken,
) -> Result<(), ServiceError> {
    let time = dice.up_to(longest);
    let fate = draw(&mut dice, weather, checked);
    let never_ready = checked == Checked::Late && matches!(fate, Fate::Hang);
    if !never_ready {
        notify::ready();
    }
    match fate {
        Fate::Fail => {
            wait(time, &cancel).await;
            Err(format!("failure {}", dice.below(1_000)).into())
        }
        Fate::FailWithChain => {
            wait(time, &cancel).await;
            let root = anyhow::anyhow!("root {}", dice.below(1_000));
            Err(root.context("middle").context("outer").into())
        }
        Fate::Panic => {
            wait(time, &cancel).await;
            panic_quietly()
        }
        Fate::PanicInDrop => {
            let _bomb = Bomb;
            wait(time, &cancel).await;
            Ok(())
        }
        Fate::Complete => {
            wait(time, &cancel).await;
            Ok(())
        }
        Fate::StopSlowly => {
            wait(time, &cancel).await;
            sleep(dice.up_to(ms(15))).await;
            Ok(())
        }
        Fate::IgnoreCancellation => {
            sleep(time).await;
            Ok(())
        }
        Fate::Hang => pending().await,
        Fate::LeaveTaskBehind => {
            let notifier = notify::current();
            tokio::spawn(async move {
                sleep(time).await;
                notifier.heartbeat();
                notifier.status(format!("after {time:?}"));
            });
            wait(time / 2, &cancel).await;
            Err("left a task behind".into())
        }
        Fate::Spin => {
            for _ in 0..1_000 {
                tokio::task::consume_budget().await;
            }
            Ok(())
        }
    }
}

fn draw(dice: &mut Dice, weather: Weather, checked: Checked) -> Fate {
    let fate = match dice.below(20) {
        0..=5 => Fate::Fail,
        6 => Fate::FailWithChain,
        7 => Fate::Panic,
        8 => Fate::PanicInDrop,
        9..=11 => Fate::Complete,
        12 | 13 => Fate::StopSlowly,
        14 => Fate::LeaveTaskBehind,
        15 => Fate::Spin,
        16 | 17 => Fate::IgnoreCancellation,
        _ => Fate::Hang,
    };
    match fate {
        Fate::Hang if checked == Checked::Unchecked => Fate::Complete,
        Fate::Hang | Fate::IgnoreCancellation if weather == Weather::Rain => Fate::StopSlowly,
        fate => fate,
    }
}

async fn wait(time: Duration, cancel: &CancellationToken) {
    cancel.run_until_cancelled(sleep(time)).await;
}

/// Unwinds as a panic does, but does not call the hook: what that prints should be a fault of the soak or of Janus.
pub(crate) fn panic_quietly() -> ! {
    resume_unwind(Box::new("storm"))
}

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic_quietly();
        }
    }
}
