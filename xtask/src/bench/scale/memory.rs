//! What a running `watch` holds: pages of its own, and maps in the kernel.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use aya::maps::MapInfo;

use crate::bench::proc;

/// The map with one element for each socket the kernel side can remember.
const TABLE: &str = "RECORDS";
/// The maps that grow with that number.
const GROWING: [&str; 2] = [TABLE, "SETS"];

#[derive(Clone, Debug, Default)]
pub struct Kernel {
    /// Bytes by map name.
    pub maps: BTreeMap<String, u64>,
    /// Sockets its table has room for.
    pub capacity: u64,
}

impl Kernel {
    pub fn of(pid: u32) -> Result<Self> {
        let mut kernel = Self::default();
        let mut seen = Vec::new();
        for file in proc::fdinfo(pid) {
            let number = |key: &str| file.get(key).and_then(|text| text.parse::<u64>().ok());
            let Some(id) = number("map_id").filter(|id| !seen.contains(id)) else {
                continue;
            };
            seen.push(id);
            let id = u32::try_from(id).context("read a map's id")?;
            let name = MapInfo::from_id(id)
                .context("ask for a map's name")?
                .name_as_str()
                .unwrap_or("unnamed")
                .to_owned();
            if name == TABLE {
                kernel.capacity = number("max_entries").unwrap_or(0);
            }
            *kernel.maps.entry(name).or_default() += number("memlock").unwrap_or(0);
        }
        Ok(kernel)
    }

    pub fn bytes(&self) -> u64 {
        self.maps.values().sum()
    }

    /// `None` when the table was not found.
    pub fn bytes_per_socket(&self) -> Option<f64> {
        self.each(self.bytes())
    }

    pub fn table_bytes_per_socket(&self) -> Option<f64> {
        self.each(GROWING.iter().filter_map(|name| self.maps.get(*name)).sum())
    }

    fn each(&self, bytes: u64) -> Option<f64> {
        (self.capacity > 0).then(|| bytes as f64 / self.capacity as f64)
    }
}
