//! Visits to `CLOSE_WAIT` by service: the kernel counts by cgroup, and several cgroups may be of one service. A
//! cgroup that is gone is forgotten, a service with its last cgroup.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
    time::{Duration, Instant},
};

use tracer_common::config::{OTHER_CGROUP, Visits};

use super::{figures::service_name, session::Session};
use crate::{
    serve::published::{ServiceName, Stays},
    source::service::{Owner, Owners, cgroup_paths},
};

/// A walk over all cgroups takes some milliseconds.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// The last one has no upper bound: beyond 2^14 s.
const BUCKETS: usize = 26;

pub struct Counts {
    mount: Option<PathBuf>,
    cgroups: BTreeMap<u64, Cgroup>,
    totals: BTreeMap<ServiceName, Total>,
    looked: Option<Instant>,
}

struct Cgroup {
    name: ServiceName,
    folder: PathBuf,
    /// What has been added to its service.
    added: Visits,
}

#[derive(Clone, Default)]
pub struct Total {
    pub entered: u64,
    pub stays: Stays,
}

impl Counts {
    pub fn new(mount: Option<PathBuf>) -> Self {
        Self {
            mount,
            cgroups: BTreeMap::new(),
            totals: BTreeMap::new(),
            looked: None,
        }
    }

    pub fn read(
        &mut self,
        session: &mut Session<'_>,
        owners: &mut Owners,
    ) -> BTreeMap<ServiceName, Total> {
        // Read again at the next inspection.
        let Ok(visits) = session.live.visits.read() else {
            return self.totals.clone();
        };
        for gone in self.forget_gone() {
            session.live.visits.forget(gone);
        }
        self.name_new(&visits, owners);
        for (id, now) in &visits {
            if let Some(cgroup) = self.cgroups.get_mut(id) {
                let total = self.totals.entry(cgroup.name.clone()).or_default();
                total.add(&cgroup.added, now);
                cgroup.added = *now;
            }
        }
        let present: BTreeSet<&ServiceName> = self.cgroups.values().map(|it| &it.name).collect();
        self.totals.retain(|name, _| present.contains(name));
        self.totals.clone()
    }

    /// A new cgroup of the same path has another number.
    fn forget_gone(&mut self) -> Vec<u64> {
        let is_gone = |id: u64, folder: &PathBuf| {
            id != OTHER_CGROUP && fs::metadata(folder).map_or(true, |meta| meta.ino() != id)
        };
        let all = self.cgroups.iter();
        let gone: Vec<u64> = all
            .filter(|(id, cgroup)| is_gone(**id, &cgroup.folder))
            .map(|(id, _)| *id)
            .collect();
        for id in &gone {
            self.cgroups.remove(id);
        }
        gone
    }

    fn name_new(&mut self, visits: &BTreeMap<u64, Visits>, owners: &mut Owners) {
        let new = visits.keys().filter(|id| !self.cgroups.contains_key(id));
        let mut new: BTreeSet<u64> = new.copied().collect();
        if new.remove(&OTHER_CGROUP) {
            self.know(OTHER_CGROUP, PathBuf::new(), Owner::named("other"));
        }
        let Some(mount) = self.mount.clone() else {
            return;
        };
        if new.is_empty() || self.looked.is_some_and(|at| at.elapsed() < LOOK_AGAIN) {
            return;
        }
        self.looked = Some(Instant::now());
        for (id, path) in cgroup_paths(&mount, &new) {
            // Not by the name of a process: nobody's is known to be meant.
            let owner = owners.of(&path, &path);
            let folder = mount.join(path.trim_start_matches('/'));
            self.know(id, folder, owner);
        }
    }

    fn know(&mut self, id: u64, folder: PathBuf, owner: Owner) {
        let cgroup = Cgroup {
            name: service_name(owner),
            folder,
            added: [0; _],
        };
        self.cgroups.insert(id, cgroup);
    }
}

impl Total {
    fn add(&mut self, before: &Visits, now: &Visits) {
        let mut more = now
            .iter()
            .zip(before)
            .map(|(now, before)| now.saturating_sub(*before));
        self.entered += more.next().unwrap_or(0);
        self.stays.sum_seconds += more.next().unwrap_or(0) as f64 / 1e9;
        self.stays.buckets.resize(BUCKETS, 0);
        for (index, count) in more.enumerate() {
            if let Some(bucket) = self.stays.buckets.get_mut(index.min(BUCKETS - 1)) {
                *bucket += count;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_new_is_added_and_the_longest_stays_are_one_bucket() {
        let mut total = Total::default();
        let mut now: Visits = [0; _];
        (now[0], now[1], now[2], now[33]) = (5, 2_500_000_000, 3, 1);
        total.add(&[0; _], &now);
        let before = now;
        (now[0], now[30]) = (6, 2);
        total.add(&before, &now);
        assert_eq!(total.entered, 6);
        assert!((total.stays.sum_seconds - 2.5).abs() < 1e-9);
        assert_eq!((total.stays.buckets[0], total.stays.buckets[25]), (3, 3));
        assert_eq!(total.stays.buckets.iter().sum::<u64>(), 6);
    }
}
