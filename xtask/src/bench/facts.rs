//! What a reader must know of the machine to judge a figure, and nothing else about it.

use std::fs;

use anyhow::{Context as _, Result};

#[derive(Debug)]
pub struct Facts {
    kernel: String,
    cpus: usize,
    cpu: String,
    memory_gib: u64,
    virtual_machine: bool,
    date: String,
}

impl Facts {
    pub fn gather() -> Result<Self> {
        let cpuinfo = read("/proc/cpuinfo")?;
        let meminfo = read("/proc/meminfo")?;
        let field = |text: &str, key: &str| {
            text.lines()
                .find(|line| line.starts_with(key))
                .and_then(|line| line.split_once(':'))
                .map(|(_, value)| value.trim().to_owned())
        };
        let memory_kib: u64 = field(&meminfo, "MemTotal")
            .and_then(|value| value.split_ascii_whitespace().next()?.parse().ok())
            .unwrap_or_default();
        Ok(Self {
            kernel: upstream(read("/proc/sys/kernel/osrelease")?.trim()).to_owned(),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            cpu: field(&cpuinfo, "model name").unwrap_or_else(|| "unknown CPU".to_owned()),
            memory_gib: memory_kib.div_ceil(1 << 20),
            virtual_machine: field(&cpuinfo, "flags")
                .is_some_and(|flags| flags.split(' ').any(|flag| flag == "hypervisor")),
            date: jiff::Timestamp::now().strftime("%Y-%m-%d").to_string(),
        })
    }

    /// One line under a section's heading.
    pub fn line(&self) -> String {
        format!(
            "{}: Linux {}, {}, {} CPU{}, {}{} GiB of memory.",
            self.date,
            self.kernel,
            std::env::consts::ARCH,
            self.cpus,
            if self.cpus == 1 { "" } else { "s" },
            if self.virtual_machine {
                format!("virtual machine on {}, ", self.cpu)
            } else {
                format!("{}, ", self.cpu)
            },
            self.memory_gib,
        )
    }
}

/// The version without a distribution's or a builder's own suffix.
fn upstream(release: &str) -> &str {
    release.split(['-', '+']).next().unwrap_or(release)
}

fn read(path: &str) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("read {path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_is_named_by_its_version() {
        assert_eq!(upstream("6.12.107+deb13-amd64"), "6.12.107");
        assert_eq!(upstream("6.18.44"), "6.18.44");
    }

    #[test]
    fn this_machine_has_facts() {
        let line = Facts::gather().unwrap().line();
        assert!(line.contains("Linux") && line.contains("CPU"), "{line}");
    }
}
