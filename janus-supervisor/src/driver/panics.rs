//! Calling other people's code.

use crate::PanicError;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Logs. A subscriber is other people's code, too: if it panics, the line is lost and nothing else.
pub(crate) fn logged(line: impl FnOnce()) {
    if let Err(panic) = caught(line) {
        drop(panic);
    }
}

/// Calls the user's code, and turns a panic in it into an error.
///
/// Whatever the code was in the middle of changing is its own, so unwind safety is its own, too: a service's value
/// survives the panic of a run just as it survives an error.
pub(crate) fn caught<R>(act: impl FnOnce() -> R) -> Result<R, PanicError> {
    catch_unwind(AssertUnwindSafe(act)).map_err(PanicError::from_payload)
}
