//! What is typed while the fleet runs: `stop NAME`, `restart NAME`.

use janus_supervisor::JanusSupervisor;
use std::io;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// Does what is typed, for as long as there is a fleet.
pub(crate) fn obey(supervisor: &JanusSupervisor) {
    let mut typed = typed();
    let token = supervisor.cancel_token().clone();
    let supervisor = supervisor.clone();
    tokio::spawn(async move {
        while let Some(Some(line)) = token.run_until_cancelled(typed.recv()).await {
            obey_one(&supervisor, &line);
        }
    });
}

/// A thread of its own reads: one of the runtime's would hold up the end of the program until something is typed.
fn typed() -> UnboundedReceiver<String> {
    let (send, receive) = unbounded_channel();
    std::thread::spawn(move || {
        for line in io::stdin().lines().map_while(Result::ok) {
            if send.send(line).is_err() {
                return;
            }
        }
    });
    receive
}

fn obey_one(supervisor: &JanusSupervisor, line: &str) {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (command, name) = match words[..] {
        [] => return,
        [command @ ("stop" | "restart"), name] => (command, name),
        _ => {
            tracing::warn!("not understood: {line:?}; stop NAME, or restart NAME");
            return;
        }
    };
    let Some(service) = supervisor.service(name) else {
        tracing::warn!("there is no service named {name:?}");
        return;
    };
    if command == "stop" {
        service.request_stop();
        return;
    }
    tokio::spawn(async move {
        if let Err(error) = service.restart().await {
            tracing::warn!("{error}");
        }
    });
}
