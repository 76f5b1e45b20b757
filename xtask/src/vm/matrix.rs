//! `docs/kernels.md`: one column a kernel, one row a check, as the guests found it.

use std::fmt::Write as _;
use std::fs;

use anyhow::{Context as _, Result};

use super::checks::Check;
use super::kernel::Kernel;
use crate::{repo, say};

const PLACE: &str = "docs/kernels.md";
const HEAD: &str = "\
# Kernels

`cargo xtask vm` boots each of these kernels in QEMU, leaks sockets there, and compares what
sockleak reports with what the kernel should allow. It writes this file when all of them ran.

A hook is named by its kind: `tp_btf` and `fexit` are BTF-typed programs, `tracepoint` is the system
call tracepoint that stands in where the kernel cannot tell a function's result. *Degraded* works
and shows less or costs more; `sockleak doctor` says what. The rows `watch: …` name the rig in
`tests/rigs` that leaked, and what was found: sockets × verdict, and the function that was blamed.
*Verified* are the instructions that the kernel's verifier went through: those of the largest program,
and of all; a program that takes a tenth more than it did fails this run.
";
const TAIL: &str = "
What older kernels lack, and what follows from it:

- before 6.3 there is no tracepoint at the socket layer: reads are seen at `tcp_recvmsg`, writes not
  at all, so the last use of a socket is its last read;
- before 5.17 an fexit program cannot ask for a function's result, so accept sites come from the
  system call tracepoints;
- before 5.17 there is no helper for loops: another object of the same sources is loaded, of whose loops
  the verifier goes through every turn;
- before 5.15 a program cannot reach the user's registers, so the hooks give no stacks and most
  findings name the process but no code;
- before 5.12 there is no socket cookie for tracing programs, so a socket is known by its address.

On 6.19 alone the verifier goes through turns of `bpf_loop` again and again that differ in nothing that
matters, and remembers each, which took half a gigabyte. What it counts for a small program with one such
loop shows that, and the object without that helper is loaded, which takes three times as many instructions
and no more than 100 MiB. Frames of virtual threads on the heap are walked with the helper only, and without it
no more than 8 of JavaScript.

What newer kernels bring: on 7.0 to 7.3, where only lazy and full preemption are left, a task was seen
to lose the CPU inside a program (on 6.19, lazy as well, seldom). When another task on that CPU
then comes to the same hook, the kernel skips its run (`recursion_misses` of the program, here that on
writes). Emulated guests, where a program takes a hundred times longer than elsewhere, show it. The
report counts such runs as missed, and `trace` ends with 125; a socket that lost a run keeps its
verdict, and may stand by itself because less is known of it.
";

pub fn write(columns: &[(Kernel, Vec<Check>)]) -> Result<()> {
    let path = repo::root().join(PLACE);
    let text = format!("{HEAD}\n{}{TAIL}", table(columns));
    fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    say::result(format_args!("wrote {PLACE}"));
    Ok(())
}

/// Kernels across and checks down.
fn table(columns: &[(Kernel, Vec<Check>)]) -> String {
    let mut rows: Vec<&str> = Vec::new();
    for (_, checks) in columns {
        for check in checks {
            if !rows.contains(&check.name.as_str()) {
                rows.push(&check.name);
            }
        }
    }
    let mut text = String::from("| |");
    for (kernel, _) in columns {
        let _ = write!(text, " {} |", upstream(&kernel.release));
    }
    text.push_str("\n|---|");
    text.push_str(&"---|".repeat(columns.len()));
    text.push('\n');
    for row in rows {
        let _ = write!(text, "| {row} |");
        for (_, checks) in columns {
            let _ = write!(text, " {} |", cell(checks, row));
        }
        text.push('\n');
    }
    text
}

fn cell(checks: &[Check], row: &str) -> String {
    let check = checks.iter().find(|check| check.name == row);
    match check.map(|check| &check.outcome) {
        None => "–".to_owned(),
        Some(Ok(words)) => words.replace('|', "\\|"),
        Some(Err(_)) => "**fails**".to_owned(),
    }
}

/// `7.0.13+deb13-cloud-amd64` is a distribution's name for 7.0.13.
fn upstream(release: &str) -> &str {
    release.strip_suffix("-cloud-amd64").unwrap_or(release)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_a_check_and_a_column_a_kernel() {
        let kernel = |release: &str| Kernel {
            release: release.to_owned(),
            version: (0, 0),
            image: std::path::PathBuf::new(),
        };
        let check = |name: &str, outcome| Check {
            name: name.to_owned(),
            outcome,
        };
        let columns = [
            (
                kernel("6.1.0-50-cloud-amd64"),
                vec![check("reads", Ok("fexit".to_owned()))],
            ),
            (
                kernel("6.12.1-cloud-amd64"),
                vec![
                    check("reads", Ok("tp_btf".to_owned())),
                    check("trace", Err("why".to_owned())),
                ],
            ),
        ];
        assert_eq!(
            table(&columns),
            "| | 6.1.0-50 | 6.12.1 |\n|---|---|---|\n| reads | fexit | tp_btf |\n\
             | trace | – | **fails** |\n"
        );
    }
}
