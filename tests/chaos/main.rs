//! The example `fleet` as a process, to which everything happens that happens to processes: it is stopped and goes on,
//! and is ended at any moment, also twice, also before it has properly begun. Each time it must end in time, with a
//! report, with the exit code that the report deserves, and with nobody left behind.
//!
//! Of the jumps that clocks make, this can make one: while a process is stopped by SIGSTOP, the monotonic clock goes
//! on, and when it goes on itself, all its timers find that seconds have passed in one step, as after a host that
//! stalls or a virtual machine that is moved. What it cannot make without the rights of the system's owner or a library
//! loaded before the program: a wall clock that is set, forwards or backwards (Janus never reads that one); a monotonic
//! clock that stands still while a host is suspended; one that goes backwards, which the system rules out.

#![expect(clippy::print_stdout, reason = "it talks to the person who runs it")]

#[cfg(unix)]
mod args;
#[cfg(unix)]
mod chaos;
#[cfg(unix)]
mod fleet;
#[cfg(unix)]
mod judge;
#[cfg(unix)]
mod plan;
#[cfg(unix)]
mod run;

use anyhow::Result;

#[cfg(unix)]
fn main() -> Result<()> {
    chaos::all(&args::Args::read(std::env::args().skip(1))?)
}

#[cfg(not(unix))]
fn main() -> Result<()> {
    println!("there are no such signals here");
    Ok(())
}
