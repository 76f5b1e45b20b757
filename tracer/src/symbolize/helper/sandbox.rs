//! Gives up everything that the helper does not need, before it reads the first request, and finds
//! out by trying what really holds. Knows nothing of requests.

use std::fs;

use rustix::process::Resource;

use super::{MAX_MEMORY, seccomp};
use crate::confine;
use crate::symbolize::message::SandboxLayer;
use crate::symbolize::names::MAX_COPY;

/// 256 files, their debug files, copies of 64 symbol tables, and some in between.
const MAX_DESCRIPTORS: u64 = 1024;

/// What could not be had.
pub(super) fn confine() -> Vec<SandboxLayer> {
    // When memory runs out, this process is to go, not the tracer or what it watches.
    let _ = fs::write("/proc/self/oom_score_adj", "1000");
    // The time is bounded by the tracer, which waits only so long.
    let bounded = confine::limit(&[
        (Resource::As, MAX_MEMORY),
        // Copies of symbol tables are files in memory.
        (Resource::Fsize, MAX_COPY),
        (Resource::Nofile, MAX_DESCRIPTORS),
        (Resource::Nproc, 0),
        (Resource::Core, 0),
        (Resource::Memlock, 0),
    ]);
    // Only who started as root can; landlock does more, where there is one.
    let _ = confine::see_own_descriptors_only();
    let unprivileged = confine::become_unprivileged();
    let _ = confine::landlock();
    let filtered = seccomp::apply();
    [
        (SandboxLayer::User, unprivileged),
        (SandboxLayer::Files, !confine::opens_files()),
        (
            SandboxLayer::Seccomp,
            filtered && !confine::makes_sockets() && !confine::opens_for_writing(),
        ),
        (SandboxLayer::Limits, bounded),
    ]
    .into_iter()
    .filter(|(_, holds)| !holds)
    .map(|(layer, _)| layer)
    .collect()
}
