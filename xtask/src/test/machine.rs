//! What the tests need of this machine, in one table, and how it is provided. Says everything it
//! changes; changes nothing that is already there.

use std::env;
use std::path::PathBuf;

use anyhow::Result;

use super::root;
use crate::trouble::Trouble;
use crate::{process, say};

pub struct Need {
    /// A program of PATH, or the path of a file.
    pub program: &'static str,
    /// Debian's name of the package it is in.
    pub package: &'static str,
    pub why: &'static str,
}

const NEEDS: &[Need] = &[
    Need {
        program: "gcc",
        package: "gcc",
        why: "the rigs in C",
    },
    Need {
        program: "g++",
        package: "g++",
        why: "the rigs in C++",
    },
    Need {
        program: "python3",
        package: "python3",
        why: "the rigs in Python",
    },
    Need {
        program: "go",
        package: "golang-go",
        why: "programs in Go",
    },
    Need {
        program: "javac",
        package: "openjdk-17-jdk-headless",
        why: "programs in Java",
    },
    Need {
        program: "node",
        package: "nodejs",
        why: "programs for Node",
    },
    Need {
        program: "/usr/bin/ruby",
        package: "ruby",
        why: "programs in Ruby",
    },
    Need {
        program: "/usr/bin/php",
        package: "php-cli",
        why: "programs in PHP",
    },
    Need {
        program: "prometheus",
        package: "prometheus",
        why: "real scrapes of a metrics endpoint",
    },
    Need {
        program: "chromium",
        package: "chromium",
        why: "the page as a browser shows it",
    },
    Need {
        program: "systemd-analyze",
        package: "systemd",
        why: "what systemd says of the units",
    },
    Need {
        program: "haproxy",
        package: "haproxy",
        why: "a real proxy before a leaking service",
    },
    Need {
        program: "/usr/lib/python3/dist-packages/urllib3/__init__.py",
        package: "python3-urllib3",
        why: "a real pool of connections",
    },
    Need {
        program: "musl-gcc",
        package: "musl-tools",
        why: "programs with another C library",
    },
    Need {
        program: "javac",
        package: "default-jdk-headless",
        why: "programs in Java",
    },
    Need {
        program: "/usr/lib/python3/dist-packages/pytest/__init__.py",
        package: "python3-pytest",
        why: "a real runner of tests in Python",
    },
    Need {
        program: "/usr/lib/python3/dist-packages/xdist/__init__.py",
        package: "python3-pytest-xdist",
        why: "a real runner of tests in several processes",
    },
    Need {
        program: "/usr/share/java/junit-platform-console.jar",
        package: "junit5",
        why: "a real runner of tests in Java",
    },
    Need {
        program: "xmllint",
        package: "libxml2-utils",
        why: "JUnit XML compared with its schema",
    },
    Need {
        program: "cmake",
        package: "cmake",
        why: "a real runner of tests in C",
    },
    Need {
        program: "sudo",
        package: "sudo",
        why: "a user without privileges who may trace",
    },
    Need {
        program: "objcopy",
        package: "binutils",
        why: "debug information apart from its program",
    },
    Need {
        program: "ss",
        package: "iproute2",
        why: "socket states to compare with",
    },
    Need {
        program: "ip",
        package: "iproute2",
        why: "network namespaces of the live tests",
    },
    Need {
        program: "tcpstates",
        package: "libbpf-tools",
        why: "a tracer to compare with",
    },
    Need {
        program: "tcplife",
        package: "libbpf-tools",
        why: "a tracer to compare with",
    },
    Need {
        program: "qemu-system-x86_64",
        package: "qemu-system-x86",
        why: "guests with other kernels",
    },
    Need {
        program: "bpftool",
        package: "bpftool",
        why: "the list of what is attached",
    },
];

/// The tests run these programs themselves, as long as they need them. Their packages would have the
/// system run them from now on, so this part of the packages is left out.
const SERVICES: &[&str] = &[
    "--path-exclude=*/systemd/system/prometheus.service",
    "--path-exclude=*/systemd/system/haproxy.service",
    "--path-exclude=/etc/init.d/prometheus",
    "--path-exclude=/etc/init.d/haproxy",
];

pub fn prepare() -> Result<()> {
    provide(NEEDS)
}

/// Installs what of this is missing.
pub fn provide(needs: &[Need]) -> Result<()> {
    let missing: Vec<&Need> = needs
        .iter()
        .filter(|need| find(need.program).is_none())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mut packages: Vec<&str> = missing.iter().map(|need| need.package).collect();
    packages.dedup();
    for need in &missing {
        say::step(format_args!(
            "installing {} for {}: {}",
            need.package, need.program, need.why
        ));
    }
    apt(&packages).map_err(|error| {
        let programs: Vec<&str> = missing.iter().map(|need| need.program).collect();
        Trouble::error(
            format!("{} is needed here: {error:#}", programs.join(", ")),
            "this system has no apt, or its package lists cannot be reached",
            format!(
                "install them by hand; Debian's packages are {}",
                packages.join(" ")
            ),
        )
    })
}

fn apt(packages: &[&str]) -> Result<()> {
    let apt = |args: &[&str]| -> Result<()> {
        let mut command = root::command("env")?;
        command
            .args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq", "--yes"])
            .args(args);
        process::run(&mut command)
    };
    apt(&["update"])?;
    let without: Vec<String> = SERVICES
        .iter()
        .map(|part| format!("-oDpkg::Options::={part}"))
        .collect();
    let without: Vec<&str> = without.iter().map(String::as_str).collect();
    apt(&[
        &["install", "--no-install-recommends"],
        &without[..],
        packages,
    ]
    .concat())
}

/// In PATH, or where Debian keeps tools for root.
fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|dir| dir.join(program))
        .find(|candidate| candidate.is_file())
}
