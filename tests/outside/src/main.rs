//! A program that knows Janus from its documentation only: every public name, used the way a user would, through the
//! one crate that he depends on. It checks what it sees, and ends with 0.

mod fleet;
mod parts;
mod services;

use std::error::Error;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    parts::backoff()?;
    parts::lifecycle()?;
    parts::texts()?;
    fleet::failures_and_their_ends().await?;
    fleet::a_list_of_services_and_its_shutdown().await?;
    fleet::modules_and_blocking_work().await?;
    fleet::refusals().await?;
    Ok(())
}
