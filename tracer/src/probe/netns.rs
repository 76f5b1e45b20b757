//! The network namespaces in use: by the processes in them, and by name under /run/netns.

use std::{
    collections::BTreeMap,
    fs::File,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// Inode number (the kernel's `ns.inum`) and one path of every namespace.
pub fn all() -> BTreeMap<u64, PathBuf> {
    let mut found = BTreeMap::new();
    let own = PathBuf::from("/proc/self/ns/net");
    let processes = entries(Path::new("/proc"))
        .filter(|path| is_pid(path))
        .map(|path| path.join("ns/net"));
    let named = entries(Path::new("/run/netns"));
    for path in std::iter::once(own).chain(processes).chain(named) {
        if let Ok(meta) = std::fs::metadata(&path) {
            found.entry(meta.ino()).or_insert(path);
        }
    }
    found
}

pub fn own() -> Option<u64> {
    std::fs::metadata("/proc/self/ns/net")
        .ok()
        .map(|meta| meta.ino())
}

/// Moves the calling thread; a thread that did this must not be used for anything else.
pub fn enter(path: &Path) -> std::io::Result<()> {
    use std::os::fd::AsFd;
    let file = File::open(path)?;
    let net = Some(rustix::thread::LinkNameSpaceType::Network);
    Ok(rustix::thread::move_into_link_name_space(
        file.as_fd(),
        net,
    )?)
}

fn entries(dir: &Path) -> impl Iterator<Item = PathBuf> {
    std::fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
}

fn is_pid(path: &Path) -> bool {
    path.file_name()
        .and_then(|name| name.to_str())
        .is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
}
