//! What a report says of evidence that is only taken while something is stuck.

use crate::{
    model::{
        input::RunHeader,
        report::{Hook, HookStatus},
    },
    track::Tracker,
};

/// As they are now.
pub fn hooks(tracker: &Tracker, run_header: &RunHeader) -> Vec<Hook> {
    let attached = tracker
        .evidence()
        .is_some_and(|evidence| evidence.attached.is_some());
    let mut hooks = run_header.hooks.clone();
    for hook in &mut hooks {
        if attached && hook.status == HookStatus::Standby {
            let reason = hook.reason.take().unwrap_or_default();
            let besides = reason.strip_prefix(Hook::ON_DEMAND).unwrap_or(&reason);
            let besides = besides.trim_start_matches("; ");
            (hook.status, hook.reason) = match besides {
                "" => (HookStatus::Attached, None),
                besides => (HookStatus::Degraded, Some(besides.to_owned())),
            };
        }
    }
    hooks
}

/// How much of what sockets were used for was seen.
pub fn warning(tracker: &Tracker) -> Option<String> {
    let evidence = tracker.evidence()?;
    let attached = evidence.attached?;
    let from = tracker.wall(attached)?.strftime("%Y-%m-%d %H:%M:%S UTC");
    Some(format!(
        "reads, writes and accepts are watched since {from}, of {} (--evidence leaking): how sockets were used before is \
         not known, and one counts as stuck after having been watched for --min-age",
        match evidence.processes.len() {
            1 => "1 process".to_owned(),
            more => format!("{more} processes"),
        }
    ))
}
