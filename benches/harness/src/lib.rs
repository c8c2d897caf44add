//! What every contender is asked to do, and how it is measured. Each contender is a program of its own:
//!
//! ```text
//! bench-janus <workload> <current|multi> <services> <times>
//! ```
//!
//! It prints what it measured, one `name value` a line: `_ns` are nanoseconds for each service or restart, `_per_s` is
//! a rate, the rest is a count. `note` is followed by what is to be known about what it does otherwise than the others.
//! Where it cannot take part it prints `cannot` and why instead.

mod alloc;
mod contender;
mod gate;
mod measure;
mod work;
mod workload;

pub use contender::{Contender, Fleet, Lister};
pub use measure::main;
pub use work::{Fault, Work};
pub use workload::{Engine, Job, Workload};
