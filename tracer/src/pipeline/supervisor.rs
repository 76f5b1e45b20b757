//! What a service manager is told: ready, alive, about to end. Without one, nothing happens.

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use sd_notify::NotifyState;

static LAST: Mutex<Option<Instant>> = Mutex::new(None);

/// Hooks are attached, the first report is there, and requests are answered.
pub fn ready(names: &[String]) {
    let status = format!("answers requests on {}", names.join(", "));
    // Nobody listens outside of a service; a lost message shows as a start that takes too long.
    let _ = sd_notify::notify(&[NotifyState::Ready, NotifyState::Status(&status)]);
}

/// The loop goes on. Told at a third of the time that the manager waits.
pub fn alive() {
    let Some(limit) = sd_notify::watchdog_enabled() else {
        return;
    };
    let Ok(mut last) = LAST.lock() else {
        return;
    };
    if last.is_none_or(|last| last.elapsed() >= (limit / 3).max(Duration::from_millis(100))) {
        *last = Some(Instant::now());
        let _ = sd_notify::notify(&[NotifyState::Watchdog]);
    }
}

pub fn stopping() {
    let _ = sd_notify::notify(&[NotifyState::Stopping]);
}
