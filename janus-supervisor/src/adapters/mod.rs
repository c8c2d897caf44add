//! Other shapes of code as services.

mod blocking;
mod module;

pub use blocking::BlockingService;
pub use module::{ApiModuleAdapter, ModuleAdapter, ModuleState};
