//! What is mounted where, for this process (`man 5 proc_pid_mountinfo`).

use std::path::PathBuf;

/// Kind of file system and place, in the order of mounting.
#[derive(Clone, Debug, Default)]
pub struct Mounts(Vec<(String, PathBuf)>);

impl Mounts {
    /// None where there is no /proc.
    pub fn of_this_process() -> Self {
        Self::parse(&std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default())
    }

    pub fn parse(mountinfo: &str) -> Self {
        Self(mountinfo.lines().filter_map(mount).collect())
    }

    pub fn first(&self, kind: &str) -> Option<PathBuf> {
        self.all(kind).next()
    }

    pub fn all<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = PathBuf> + 'a {
        self.0
            .iter()
            .filter(move |(of, _)| of == kind)
            .map(|(_, at)| at.clone())
    }
}

fn mount(line: &str) -> Option<(String, PathBuf)> {
    let (place, origin) = line.split_once(" - ")?;
    let at = place.split(' ').nth(4)?;
    Some((origin.split(' ').next()?.to_owned(), unescaped(at).into()))
}

/// mountinfo writes blanks and backslashes as `\040`.
fn unescaped(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let mut rest = path;
    while let Some((before, after)) = rest.split_once('\\') {
        out.push_str(before);
        let code = after
            .get(..3)
            .and_then(|code| u8::from_str_radix(code, 8).ok());
        match code {
            Some(byte) if byte.is_ascii() => {
                out.push(char::from(byte));
                rest = after.get(3..).unwrap_or_default();
            }
            _ => {
                out.push('\\');
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_found_with_and_without_optional_fields() {
        let mounts = Mounts::parse(
            "22 27 0:21 / /proc rw,relatime - proc proc rw\n\
                    41 31 0:38 / /sys/fs/my\\040cgroup rw shared:9 master:1 - cgroup2 cgroup2 rw\n\
                    short line\n",
        );
        assert_eq!(mounts.first("cgroup2"), Some("/sys/fs/my cgroup".into()));
        assert_eq!(mounts.first("tracefs"), None);
        assert_eq!(unescaped("a\\134b\\9\\"), "a\\b\\9\\");
    }
}
