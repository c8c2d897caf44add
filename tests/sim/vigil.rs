//! A service that spins for ever stops the paused clock, and the thread with it. Somebody outside has to notice.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::Duration;

/// No history takes so long. Most take less than a millisecond.
const LONG: Duration = Duration::from_secs(60);

/// A thread that ends the program when it has not heard of progress for so long.
pub(crate) struct Vigil(Sender<u64>);

impl Vigil {
    pub(crate) fn begin() -> Self {
        let (passed, heard) = mpsc::channel();
        std::thread::spawn(move || {
            let mut seed = 0;
            loop {
                match heard.recv_timeout(LONG) {
                    Ok(next) => seed = next,
                    Err(RecvTimeoutError::Disconnected) => return,
                    Err(RecvTimeoutError::Timeout) => give_up(seed),
                }
            }
        });
        Self(passed)
    }

    /// The history of this seed begins.
    pub(crate) fn passes(&self, seed: u64) {
        // It ends only with the program.
        let _heard = self.0.send(seed);
    }
}

#[expect(
    clippy::exit,
    reason = "the thread that should end the program does not get to it"
)]
fn give_up(seed: u64) {
    println!("\nseed {seed} fails: time stands still, a service spins for ever");
    std::process::exit(1);
}
