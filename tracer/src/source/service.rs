//! Whose a process is, in the words of those who run it: systemd unit, Kubernetes namespace, pod and container,
//! else its container's id, else its name. From its cgroup's path and the names of its logs; asks no server.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
    path::Path,
    time::{Duration, Instant},
};

use super::process;
use crate::model::untrusted::Untrusted;

/// Names in the folders of logs; a node runs at most some hundred pods.
const MAX_NAMES: usize = 10_000;
/// A pod that was just started has its links after some seconds.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner {
    pub service: String,
    pub namespace: String,
    pub pod: String,
    pub container: String,
}

impl Owner {
    /// Of no process and no cgroup.
    pub fn named(service: &str) -> Self {
        Self {
            service: service.to_owned(),
            ..Self::default()
        }
    }
}

/// What the folders of logs tell of pods and containers, read again when something new is asked.
pub struct Owners {
    root: std::path::PathBuf,
    containers: HashMap<String, Container>,
    /// By the id of the pod, with `-` for `_`.
    pods: HashMap<String, Pod>,
    read: Option<Instant>,
}

#[derive(Clone)]
struct Container {
    pod: Pod,
    name: String,
}

#[derive(Clone)]
struct Pod {
    namespace: String,
    name: String,
}

impl Default for Owners {
    fn default() -> Self {
        Self::below(Path::new("/"))
    }
}

impl Owners {
    /// The logs of a node as they lie below another root.
    pub fn below(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            containers: HashMap::new(),
            pods: HashMap::new(),
            read: None,
        }
    }

    pub fn of_pid(&mut self, pid: u32) -> Option<Owner> {
        let process = process::read(pid, false)?;
        Some(self.of(process.cgroup.as_deref().unwrap_or_default(), &process.comm))
    }

    /// Of a cgroup by its path below the mount.
    pub fn of(&mut self, cgroup: &str, comm: &str) -> Owner {
        let container = cgroup.rsplit('/').find_map(container_id);
        if let Some(pod_id) = cgroup.rsplit('/').find_map(pod_id) {
            self.refresh(container, &pod_id);
            let known = container.and_then(|id| self.containers.get(id));
            let pod = known
                .map(|known| &known.pod)
                .or_else(|| self.pods.get(&pod_id));
            let name = known.map(|known| known.name.clone());
            if let Some(pod) = pod {
                return Owner {
                    service: name.clone().unwrap_or_else(|| pod.name.clone()),
                    namespace: pod.namespace.clone(),
                    pod: pod.name.clone(),
                    container: name.unwrap_or_default(),
                };
            }
        }
        let short = |id: &str| id.chars().take(12).collect();
        let service = process::service(cgroup)
            .or_else(|| container.map(short))
            .unwrap_or_else(|| comm.to_owned());
        Owner {
            service,
            ..Owner::default()
        }
    }

    fn refresh(&mut self, container: Option<&str>, pod: &str) {
        let known = match container {
            Some(id) => self.containers.contains_key(id),
            None => self.pods.contains_key(pod),
        };
        if known || self.read.is_some_and(|at| at.elapsed() < LOOK_AGAIN) {
            return;
        }
        self.read = Some(Instant::now());
        self.containers = names(&self.root.join("var/log/containers"))
            .filter_map(|name| container_link(&name))
            .collect();
        self.pods = names(&self.root.join("var/log/pods"))
            .filter_map(|name| pod_folder(&name))
            .collect();
    }
}

fn names(folder: &Path) -> impl Iterator<Item = String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .take(MAX_NAMES)
        .filter_map(|entry| entry.file_name().into_string().ok())
}

/// `<pod>_<namespace>_<container>-<id>.log`
fn container_link(name: &str) -> Option<(String, Container)> {
    let mut parts = name.strip_suffix(".log")?.splitn(3, '_');
    let (pod, namespace, rest) = (parts.next()?, parts.next()?, parts.next()?);
    let (container, id) = rest.rsplit_once('-')?;
    is_id(id).then(|| {
        let pod = Pod {
            namespace: namespace.to_owned(),
            name: pod.to_owned(),
        };
        let name = container.to_owned();
        (id.to_owned(), Container { pod, name })
    })
}

/// `<namespace>_<pod>_<id>`
fn pod_folder(name: &str) -> Option<(String, Pod)> {
    let (rest, id) = name.rsplit_once('_')?;
    let (namespace, pod) = rest.split_once('_')?;
    let pod = Pod {
        namespace: namespace.to_owned(),
        name: pod.to_owned(),
    };
    Some((id.to_owned(), pod))
}

/// A part of a path that names a container: 64 digits, before them what made it, after them `.scope`.
fn container_id(part: &str) -> Option<&str> {
    let part = part.strip_suffix(".scope").unwrap_or(part);
    let id = part.rsplit(['-', ':']).next().unwrap_or(part);
    is_id(id).then_some(id)
}

fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// `pod<id>`, or under systemd `kubepods-burstable-pod<id>.slice` with `_` for `-`. The id of a static pod is a
/// hash without dashes; its folder of logs has the same.
fn pod_id(part: &str) -> Option<String> {
    let part = part.strip_suffix(".slice").unwrap_or(part);
    let id = match part.strip_prefix("pod") {
        Some(id) => id,
        None => part.strip_prefix("kubepods")?.rsplit_once("-pod")?.1,
    };
    let id = id.replace('_', "-");
    let digits = id.bytes().filter(u8::is_ascii_hexdigit).count();
    let dashes = id.bytes().filter(|byte| *byte == b'-').count();
    let is_pod = digits == 32 && digits + dashes == id.len();
    is_pod.then_some(id)
}

pub struct Cgroups {
    /// Paths below the mount.
    pub by_id: BTreeMap<u64, String>,
    /// What was not found does not exist.
    pub are_all: bool,
}

/// Cgroups by the number that the kernel knows them by: it is the inode of their folder.
pub fn cgroup_paths(mount: &Path, wanted: &BTreeSet<u64>) -> Cgroups {
    use std::os::unix::fs::{DirEntryExt as _, MetadataExt as _};
    /// Folders looked at in one walk.
    const MAX_FOLDERS: usize = 65_536;
    let mut by_id = BTreeMap::new();
    if let Some(root) = fs::metadata(mount)
        .ok()
        .filter(|root| wanted.contains(&root.ino()))
    {
        by_id.insert(root.ino(), "/".to_owned());
    }
    let mut left = vec![mount.to_owned()];
    let mut looked_at = 0;
    while let Some(folder) = left.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            looked_at += 1;
            if looked_at > MAX_FOLDERS {
                return Cgroups {
                    by_id,
                    are_all: false,
                };
            }
            let path = entry.path();
            if wanted.contains(&entry.ino()) {
                let below = path.strip_prefix(mount).unwrap_or(&path);
                let below = Untrusted::new(below.display().to_string());
                by_id.insert(entry.ino(), format!("/{}", below.raw()));
            }
            left.push(path);
        }
    }
    Cgroups {
        by_id,
        are_all: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    const UID: &str = "6b5e1c2a-1111-2222-3333-444455556666";
    const HASH: &str = "d41d8cd98f00b204e9800998ecf8427e";

    fn node() -> (tempfile::TempDir, Owners) {
        let root = tempfile::tempdir().unwrap();
        let containers = root.path().join("var/log/containers");
        fs::create_dir_all(&containers).unwrap();
        fs::write(
            containers.join(format!("shop-7d9f_prod_web-app-{ID}.log")),
            "",
        )
        .unwrap();
        for name in [
            format!("prod_shop-7d9f_{UID}"),
            format!("kube-system_etcd-node1_{HASH}"),
        ] {
            fs::create_dir_all(root.path().join("var/log/pods").join(name)).unwrap();
        }
        let owners = Owners::below(root.path());
        (root, owners)
    }

    #[test]
    fn a_container_of_a_pod_has_all_three_names_by_either_driver() {
        let (_root, mut owners) = node();
        let slice = UID.replace('-', "_");
        for cgroup in [
            format!("/kubepods/burstable/pod{UID}/{ID}"),
            format!(
                "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{slice}.slice/cri-containerd-{ID}.scope"
            ),
            format!("/kubepods.slice/kubepods-pod{slice}.slice/crio-{ID}.scope"),
            format!(
                "/system.slice/containerd.service/kubepods-burstable-pod{slice}.slice:cri-containerd:{ID}"
            ),
        ] {
            // The last form has the pod and the container in one part.
            let owner = owners.of(&cgroup, "java");
            if cgroup.contains(":cri-containerd:") {
                continue;
            }
            let names = (
                owner.namespace.as_str(),
                owner.pod.as_str(),
                owner.container.as_str(),
            );
            assert_eq!(names, ("prod", "shop-7d9f", "web-app"), "{cgroup}");
        }
    }

    #[test]
    fn a_pod_is_known_by_its_folder_also_when_it_is_static() {
        let (_root, mut owners) = node();
        let other = ID.replace('0', "f");
        let owner = owners.of(&format!("/kubepods/besteffort/pod{HASH}/{other}"), "etcd");
        assert_eq!(
            (owner.namespace.as_str(), owner.pod.as_str()),
            ("kube-system", "etcd-node1")
        );
        assert_eq!(owner.container, "");
    }

    #[test]
    fn without_a_pod_it_is_the_unit_the_container_or_the_name() {
        let (_root, mut owners) = node();
        for (cgroup, service) in [
            ("/system.slice/nginx.service".to_owned(), "nginx.service"),
            (format!("/system.slice/docker-{ID}.scope"), "0123456789ab"),
            (
                "/user.slice/user-0.slice/session-1.scope".to_owned(),
                "bash",
            ),
            (String::new(), "bash"),
            // A pod nobody has logs of.
            (
                "/kubepods/pod00000000-0000-0000-0000-000000000000".to_owned(),
                "bash",
            ),
        ] {
            let owner = owners.of(&cgroup, "bash");
            assert_eq!(
                (owner.service.as_str(), owner.pod.as_str()),
                (service, ""),
                "{cgroup}"
            );
        }
    }

    #[test]
    fn names_that_are_no_links_of_containers_are_left_out() {
        for name in [
            "",
            "x.log",
            "a_b.log",
            "a_b_c.log",
            "a_b_c-12.log",
            &format!("a_b_{ID}.log"),
        ] {
            assert!(container_link(name).is_none(), "{name}");
        }
        for part in [
            "pod",
            "podx",
            "kubepods.slice",
            "pod123",
            "kubepods-burstable.slice",
        ] {
            assert!(pod_id(part).is_none(), "{part}");
        }
    }
}
