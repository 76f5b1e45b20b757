//! Visits to `CLOSE_WAIT` by service: the kernel counts by cgroup, and several cgroups may be of one service. A
//! cgroup that is gone makes room for another, whether its name was ever known or not; nothing that was counted is lost.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
    time::{Duration, Instant},
};

use tracer_common::config::{OTHER_CGROUP, Visits};

use super::figures::service_name;
use crate::{
    probe::visits::VisitsByCgroup,
    serve::published::{OTHER, ServiceName, Stays},
    source::service::{Owner, Owners, cgroup_paths},
};

/// A walk over all cgroups takes some milliseconds.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// The last one has no upper bound: beyond 2^14 s.
const BUCKETS: usize = 26;

pub struct Counts {
    mount: Option<PathBuf>,
    cgroups: BTreeMap<u64, Cgroup>,
    looked: Option<Instant>,
}

struct Cgroup {
    name: ServiceName,
    folder: PathBuf,
    /// What has been told of it.
    told: Visits,
}

/// Since the last look.
#[derive(Debug, Default)]
pub struct News {
    /// Of each that has a cgroup, be it nothing.
    pub by_service: BTreeMap<ServiceName, Total>,
    /// Of cgroups that are gone, and no other is of their service.
    pub gone: Total,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Total {
    pub entered: u64,
    pub stays: Stays,
}

impl Counts {
    pub fn new(mount: Option<PathBuf>) -> Self {
        Self {
            mount,
            cgroups: BTreeMap::new(),
            looked: None,
        }
    }

    pub fn read(&mut self, kernel: &mut VisitsByCgroup, owners: &mut Owners) -> News {
        // Read again at the next inspection.
        let visits = kernel.read().unwrap_or_default();
        self.account(&visits, owners, &mut |gone| kernel.forget(gone))
    }

    /// `forget` answers with the last that was counted of the one that is forgotten.
    fn account(
        &mut self,
        visits: &BTreeMap<u64, Visits>,
        owners: &mut Owners,
        forget: &mut dyn FnMut(u64) -> Option<Visits>,
    ) -> News {
        let mut gone: Vec<(Option<ServiceName>, Visits, Visits)> = Vec::new();
        for id in self.gone() {
            if let Some(cgroup) = self.cgroups.remove(&id) {
                let last = forget(id).unwrap_or(cgroup.told);
                gone.push((Some(cgroup.name), cgroup.told, last));
            }
        }
        for id in self.name_new(visits, owners) {
            let last = forget(id).or_else(|| visits.get(&id).copied());
            gone.push((None, [0; _], last.unwrap_or([0; _])));
        }
        let mut news = News::default();
        for (id, cgroup) in &mut self.cgroups {
            let total = news.by_service.entry(cgroup.name.clone()).or_default();
            let now = visits.get(id).unwrap_or(&cgroup.told);
            total.count(&cgroup.told, now);
            cgroup.told = *now;
        }
        for (name, told, last) in gone {
            let service = name.and_then(|name| news.by_service.get_mut(&name));
            service.unwrap_or(&mut news.gone).count(&told, &last);
        }
        news
    }

    /// A new cgroup of the same path has another number.
    fn gone(&self) -> Vec<u64> {
        let is_gone = |id: u64, folder: &PathBuf| {
            id != OTHER_CGROUP && fs::metadata(folder).map_or(true, |meta| meta.ino() != id)
        };
        let all = self.cgroups.iter();
        all.filter(|(id, cgroup)| is_gone(**id, &cgroup.folder))
            .map(|(id, _)| *id)
            .collect()
    }

    /// Answers with those that do not exist any more.
    fn name_new(&mut self, visits: &BTreeMap<u64, Visits>, owners: &mut Owners) -> BTreeSet<u64> {
        let new = visits.keys().filter(|id| !self.cgroups.contains_key(id));
        let mut new: BTreeSet<u64> = new.copied().collect();
        if new.remove(&OTHER_CGROUP) {
            self.know(OTHER_CGROUP, PathBuf::new(), &Owner::named(OTHER));
        }
        let Some(mount) = self.mount.clone() else {
            return BTreeSet::new();
        };
        if new.is_empty() || self.looked.is_some_and(|at| at.elapsed() < LOOK_AGAIN) {
            return BTreeSet::new();
        }
        self.looked = Some(Instant::now());
        let found = cgroup_paths(&mount, &new);
        for (id, path) in found.by_id {
            new.remove(&id);
            // Not by the name of a process: nobody's is known to be meant.
            let owner = owners.of(&path, &path);
            let folder = mount.join(path.trim_start_matches('/'));
            self.know(id, folder, &owner);
        }
        if found.are_all { new } else { BTreeSet::new() }
    }

    fn know(&mut self, id: u64, folder: PathBuf, owner: &Owner) {
        let cgroup = Cgroup {
            name: service_name(owner),
            folder,
            told: [0; _],
        };
        self.cgroups.insert(id, cgroup);
    }
}

impl Total {
    fn count(&mut self, before: &Visits, now: &Visits) {
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
        total.count(&[0; _], &now);
        let before = now;
        (now[0], now[30]) = (6, 2);
        total.count(&before, &now);
        assert_eq!(total.entered, 6);
        assert!((total.stays.sum_seconds - 2.5).abs() < 1e-9);
        assert_eq!((total.stays.buckets[0], total.stays.buckets[25]), (3, 3));
        assert_eq!(total.stays.buckets.iter().sum::<u64>(), 6);
    }

    fn entered(count: u64) -> Visits {
        let mut visits: Visits = [0; _];
        visits[0] = count;
        visits
    }

    #[test]
    fn what_cgroups_that_are_gone_have_counted_is_counted_and_they_make_room() {
        let mount = tempfile::tempdir().unwrap();
        let made = |name: &str| {
            let folder = mount.path().join(name);
            fs::create_dir(&folder).unwrap();
            fs::metadata(&folder).unwrap().ino()
        };
        let (kept, removed) = (made("a.service"), made("b.service"));
        let mut owners = Owners::below(mount.path());
        let mut counts = Counts::new(Some(mount.path().to_owned()));
        let mut forgotten = Vec::new();
        let mut look = |counts: &mut Counts, visits: &[(u64, u64)], at_last: u64| {
            let visits = visits.iter().map(|(id, count)| (*id, entered(*count)));
            let mut forget = |id| {
                forgotten.push(id);
                Some(entered(at_last))
            };
            let news = counts.account(&visits.collect(), &mut owners, &mut forget);
            let own = |name: &str| {
                let total = news.by_service.get(&ServiceName::new(name, "", "", ""));
                total.map(|total| total.entered)
            };
            (
                own("a.service"),
                own("b.service"),
                news.gone.entered,
                std::mem::take(&mut forgotten),
            )
        };
        // Never found: its folder was gone when it was looked for.
        let never = 1 << 60;
        let first = look(&mut counts, &[(kept, 3), (removed, 4), (never, 5)], 6);
        assert_eq!(first, (Some(3), Some(4), 6, vec![never]));
        fs::remove_dir(mount.path().join("b.service")).unwrap();
        let second = look(&mut counts, &[(kept, 4), (removed, 9)], 10);
        assert_eq!(second, (Some(1), None, 6, vec![removed]));
        // Not read, as when the map cannot be: nothing is counted, nothing forgotten.
        assert_eq!(look(&mut counts, &[], 0), (Some(0), None, 0, vec![]));
    }
}
