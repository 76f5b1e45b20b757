//! Visits to `CLOSE_WAIT` as the kernel program counts them, by the number of a cgroup.

use std::collections::BTreeMap;

use aya::{
    maps::{MapData, MapError, PerCpuHashMap, PerCpuValues},
    util::nr_cpus,
};
use tracer_common::config::{OTHER_CGROUP, Visits};

pub struct VisitsByCgroup(PerCpuHashMap<MapData, u64, Visits>);

impl VisitsByCgroup {
    /// The element for all other cgroups must be there before the map is full.
    pub(super) fn new(mut map: PerCpuHashMap<MapData, u64, Visits>) -> Result<Self, MapError> {
        let none: Visits = [0; _];
        let cpus = nr_cpus().map_err(|(_, error)| error)?;
        let all = PerCpuValues::try_from(vec![none; cpus])?;
        map.insert(OTHER_CGROUP, all, 0)?;
        Ok(Self(map))
    }

    /// Sums over all CPUs since the hooks were attached.
    pub fn read(&self) -> Result<BTreeMap<u64, Visits>, MapError> {
        let mut sums = BTreeMap::new();
        for pair in &self.0 {
            let (cgroup, counts) = pair?;
            sums.insert(cgroup, sum(&counts));
        }
        Ok(sums)
    }

    /// Makes room for another: the cgroup is gone. Answers with what was counted of it until now.
    pub fn forget(&mut self, cgroup: u64) -> Option<Visits> {
        let counts = self.0.get(&cgroup, 0).ok();
        // Gone already is fine.
        let _ = self.0.remove(&cgroup);
        counts.map(|counts| sum(&counts))
    }
}

fn sum(counts: &PerCpuValues<Visits>) -> Visits {
    let mut sum: Visits = [0; _];
    for one in counts.iter() {
        for (total, count) in sum.iter_mut().zip(one) {
            *total += count;
        }
    }
    sum
}
