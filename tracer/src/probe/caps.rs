//! Which capability each part of the tool needs, and which of them this process holds.
//!
//! The table was checked on 6.18 with `setpriv` as an unprivileged user holding exactly these.

use std::collections::BTreeMap;

use caps::{CapSet, Capability};

use Capability::{
    CAP_BPF, CAP_CHECKPOINT_RESTORE, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_PERFMON,
    CAP_SYS_ADMIN, CAP_SYS_PTRACE,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feature {
    pub name: &'static str,
    pub needs: &'static [Capability],
    pub required: bool,
    /// What the user loses without it.
    pub lost: &'static str,
}

impl Feature {
    /// Only the system call tracepoints, whose hook says itself what is lost without them; and it
    /// may work without the capability, by uid 0 or because fexit does.
    pub fn is_told_by_its_hook(&self) -> bool {
        !self.required && self.needs.contains(&CAP_PERFMON)
    }
}

/// Ordered so that each needs at least what most before it need.
pub const FEATURES: &[Feature] = &[
    Feature {
        name: "trace TCP at all",
        needs: &[CAP_BPF, CAP_PERFMON],
        required: true,
        lost: "nothing can be traced",
    },
    Feature {
        name: "name the code of other users' processes",
        needs: &[CAP_SYS_PTRACE],
        required: false,
        lost: "stacks of other users' processes stay addresses without names",
    },
    // /proc/PID/mem, task/TID/syscall and fd are readable by their owner only.
    Feature {
        name: "see what their threads do now",
        needs: &[CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH],
        required: false,
        lost: "nothing tells what threads of other users' processes are waiting for",
    },
    Feature {
        name: "name code in replaced or deleted binaries",
        needs: &[CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH, CAP_CHECKPOINT_RESTORE],
        required: false,
        lost: "stacks in programs that were upgraded while running stay addresses",
    },
    // The folder of tracefs belongs to root; uid 0 needs no capability to read it.
    Feature {
        name: "accept sites by system call tracepoints",
        needs: &[CAP_BPF, CAP_PERFMON, CAP_DAC_READ_SEARCH],
        required: false,
        lost: "on kernels that refuse fexit nothing tells which code accepted a connection",
    },
    Feature {
        name: "unaccepted sockets in other namespaces",
        needs: &[CAP_SYS_PTRACE, CAP_SYS_ADMIN],
        required: false,
        lost: "sockets in other network namespaces (containers) that no process holds are not seen",
    },
];

/// What `sudo setcap` should give an installed program: all but `CAP_SYS_ADMIN`, which is nearly root.
pub const RECOMMENDED: &[Capability] = &[
    CAP_BPF,
    CAP_PERFMON,
    CAP_SYS_PTRACE,
    CAP_DAC_READ_SEARCH,
    CAP_CHECKPOINT_RESTORE,
];

/// The effective capabilities of a thread.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held(Vec<Capability>);

impl Held {
    /// Of the calling thread; none when the kernel does not say.
    pub fn now() -> Self {
        caps::read(None, CapSet::Effective)
            .map_or_else(|_| Self::default(), |set| set.into_iter().collect())
    }

    pub fn has(&self, capability: Capability) -> bool {
        self.0.contains(&capability)
            || stand_in(capability).is_some_and(|wider| self.0.contains(&wider))
    }

    pub fn missing(&self, feature: &Feature) -> Vec<Capability> {
        let missing = feature.needs.iter().filter(|need| !self.has(**need));
        missing.copied().collect()
    }

    /// One sentence for each capability that is missing, with all that is lost for the lack of it.
    pub fn losses(&self) -> Vec<String> {
        let mut losses: BTreeMap<u8, (Capability, Vec<&str>)> = BTreeMap::new();
        for feature in FEATURES {
            if feature.required || feature.is_told_by_its_hook() {
                continue;
            }
            if let Some(first) = self.missing(feature).first() {
                let entry = losses.entry(first.index()).or_insert((*first, Vec::new()));
                entry.1.push(feature.lost);
            }
        }
        let sentence = |(capability, lost): (Capability, Vec<&str>)| {
            format!("without {capability}: {}", lost.join("; "))
        };
        losses.into_values().map(sentence).collect()
    }
}

/// The wider capability that also allows what this one does here: `CAP_SYS_ADMIN` was split into
/// three (include/linux/capability.h: `bpf_capable`, `perfmon_capable`,
/// `checkpoint_restore_ns_capable`), and who may write any file may read it (fs/namei.c:
/// `generic_permission`); containers often hold `CAP_DAC_OVERRIDE` by default.
pub fn stand_in(capability: Capability) -> Option<Capability> {
    match capability {
        CAP_BPF | CAP_PERFMON | CAP_CHECKPOINT_RESTORE => Some(CAP_SYS_ADMIN),
        CAP_DAC_READ_SEARCH => Some(CAP_DAC_OVERRIDE),
        _ => None,
    }
}

impl FromIterator<Capability> for Held {
    fn from_iter<I: IntoIterator<Item = Capability>>(capabilities: I) -> Self {
        Self(capabilities.into_iter().collect())
    }
}

/// `CAP_BPF`, `CAP_BPF and CAP_PERFMON`, `A, B and C`.
pub fn names(capabilities: &[Capability]) -> String {
    match capabilities {
        [] => String::new(),
        [only] => only.to_string(),
        [first @ .., last] => {
            let first: Vec<String> = first.iter().map(ToString::to_string).collect();
            format!("{} and {last}", first.join(", "))
        }
    }
}

/// The form `setcap` takes.
pub fn setcap(capabilities: &[Capability]) -> String {
    let names: Vec<String> = capabilities.iter().map(ToString::to_string).collect();
    format!("{}+ep", names.join(",").to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sys_admin_stands_in_for_its_parts_only() {
        let admin = Held::from_iter([CAP_SYS_ADMIN]);
        assert!(admin.has(CAP_BPF) && admin.has(CAP_PERFMON) && admin.has(CAP_CHECKPOINT_RESTORE));
        assert!(!admin.has(CAP_SYS_PTRACE) && !admin.has(CAP_DAC_READ_SEARCH));
        assert!(Held::from_iter([CAP_DAC_OVERRIDE]).has(CAP_DAC_READ_SEARCH));
    }

    #[test]
    fn each_missing_capability_is_told_once_with_all_it_costs() {
        let all: Vec<Capability> = FEATURES.iter().flat_map(|f| f.needs).copied().collect();
        assert!(Held::from_iter(all).losses().is_empty());
        let recommended: Held = RECOMMENDED.iter().copied().collect();
        let losses = recommended.losses();
        assert_eq!(losses.len(), 1, "{losses:?}");
        assert!(
            losses
                .iter()
                .all(|loss| loss.starts_with("without CAP_SYS_ADMIN: "))
        );
        let bare = Held::from_iter([CAP_BPF, CAP_PERFMON]).losses();
        assert_eq!(bare.len(), 1, "{bare:?}");
        assert!(
            bare.iter()
                .all(|loss| loss.starts_with("without CAP_SYS_PTRACE: stacks"))
        );
        let no_dac = Held::from_iter([CAP_SYS_PTRACE, CAP_SYS_ADMIN]).losses();
        assert!(
            no_dac
                .iter()
                .all(|loss| loss.starts_with("without CAP_DAC_READ_SEARCH: "))
        );
    }

    #[test]
    fn capabilities_read_as_a_list() {
        assert_eq!(names(&[CAP_BPF]), "CAP_BPF");
        assert_eq!(
            names(&[CAP_BPF, CAP_PERFMON, CAP_SYS_ADMIN]),
            "CAP_BPF, CAP_PERFMON and CAP_SYS_ADMIN"
        );
        assert_eq!(setcap(&[CAP_BPF, CAP_PERFMON]), "cap_bpf,cap_perfmon+ep");
    }
}
