//! The fleet as a table, live on a terminal.

use janus_supervisor::{
    JanusSupervisor, ServiceLifecycleSnapshot, ServicePhase, SupervisorSnapshot,
};
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::pin::pin;
use std::time::Duration;

/// An empty screen, the cursor hidden, and long lines cut off instead of wrapped.
const BEGIN: &str = "\x1b[2J\x1b[?25l\x1b[?7l";
const END: &str = "\x1b[?7h\x1b[?25h";
/// Each frame is drawn over the last one, whose remains are erased line by line: an empty screen in between would
/// flicker.
const HOME: &str = "\x1b[H";
const END_OF_LINE: &str = "\x1b[K\n";
const END_OF_FRAME: &str = "\x1b[J";

/// Redraws the table below `title` until `end`, and answers what it comes to. The last table stays on the screen.
pub(crate) async fn show_until<R>(
    title: &str,
    supervisor: &JanusSupervisor,
    end: impl Future<Output = R>,
) -> R {
    let mut end = pin!(end);
    let mut frame = tokio::time::interval(Duration::from_millis(250));
    let _screen = Screen::begin();
    let result = loop {
        tokio::select! {
            result = &mut end => break result,
            _ = frame.tick() => draw_table(title, supervisor),
        }
    };
    draw_table(title, supervisor);
    result
}

/// The terminal as the table needs it. Put back when dropped, also by a panic or an early return.
struct Screen;

impl Screen {
    fn begin() -> Self {
        draw(BEGIN);
        Self
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        draw(END);
    }
}

fn draw_table(title: &str, supervisor: &JanusSupervisor) {
    let table = render(&supervisor.snapshot(), true);
    let frame = format!("{title}\n\n{table}").replace('\n', END_OF_LINE);
    draw(&format!("{HOME}{frame}{END_OF_FRAME}"));
}

fn draw(text: &str) {
    let mut out = io::stdout().lock();
    // A terminal that is gone is no reason to stop the fleet.
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .ok();
}

/// The table, a line a service and one for the whole.
pub(crate) fn render(snapshot: &SupervisorSnapshot, colour: bool) -> String {
    let mut text = format!(
        "{:<12}{:<13}{:>6}{:>7}{:>9}{:>8}  {}\n",
        "SERVICE", "PHASE", "STARTS", "FAILED", "UP", "NEXT", "STATUS OR END; LAST ERROR"
    );
    for service in &snapshot.services {
        line(&mut text, service, colour);
    }
    let metrics = &snapshot.metrics;
    let hint = match (snapshot.shutting_down, metrics.active_services) {
        (false, _) => " Type stop NAME or restart NAME; Ctrl-C to stop.",
        (true, 0) => "",
        (true, _) => " Shutting down; Ctrl-C again to drop what is left.",
    };
    // Writing to a string cannot fail.
    writeln!(
        text,
        "\n{} active, {} restarts, {} breaker trips.{hint}",
        metrics.active_services, metrics.restarts_total, metrics.circuit_breaker_trips
    )
    .ok();
    text
}

fn line(text: &mut String, service: &ServiceLifecycleSnapshot, colour: bool) {
    let (on, off) = match (colour, service.phase) {
        (false, _) => ("", ""),
        (true, ServicePhase::Running) => ("\x1b[32m", "\x1b[0m"),
        (true, ServicePhase::Starting | ServicePhase::BackingOff) => ("\x1b[33m", "\x1b[0m"),
        (true, ServicePhase::Stopping) => ("\x1b[36m", "\x1b[0m"),
        (true, ServicePhase::Terminated) => ("\x1b[90m", "\x1b[0m"),
    };
    let next = service
        .next_retry_secs
        .map_or_else(String::new, |secs| format!("{secs:.1}s"));
    let now = service.termination_reason.as_deref();
    let now = now.or(service.status.as_deref());
    let remarks: Vec<&str> = [now, service.last_error.as_deref()]
        .into_iter()
        .flatten()
        .collect();
    let remark = remarks.join("; last error: ");
    let mut path: Vec<&str> = service.service_name.split('/').collect();
    let own_name = path.pop().unwrap_or_default();
    let name = "  ".repeat(path.len()) + own_name;
    writeln!(
        text,
        "{name:<12}{on}{:<13}{off}{:>6}{:>7}{:>8.1}s{next:>8}  {remark}",
        service.phase, service.start_count, service.total_failures, service.cumulative_running_secs,
    )
    .ok();
}
