//! Files of the sources as a repository knows them: relative to its root. Pure: compares text.

use std::path::{Component, Path, PathBuf};

use crate::model::report::Site;

/// Where the sources are.
#[derive(Clone, Debug, Default)]
pub struct Root(PathBuf);

/// A place in a file of the repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// With `/`, without `.` or `..`.
    pub file: String,
    pub line: u32,
}

impl Root {
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self(root.into())
    }

    /// The file below the root; `None` for one of a library, the compiler, or another machine.
    pub fn relative(&self, file: &str) -> Option<String> {
        let path = Path::new(file);
        let inside = if path.is_absolute() {
            path.strip_prefix(&self.0).ok()?
        } else {
            path
        };
        let mut parts: Vec<&str> = Vec::new();
        for part in inside.components() {
            match part {
                Component::Normal(name) => parts.push(name.to_str()?),
                Component::CurDir => {}
                Component::ParentDir => {
                    parts.pop()?;
                }
                Component::RootDir | Component::Prefix(_) => return None,
            }
        }
        (!parts.is_empty()).then(|| parts.join("/"))
    }

    /// Where a site's blamed code is.
    pub fn blamed(&self, site: &Site) -> Option<Place> {
        let blame = site.blame.as_ref()?;
        Some(Place {
            file: self.relative(blame.file.as_ref()?.raw())?,
            line: blame.line.filter(|line| *line > 0)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_named_from_the_root_or_not_at_all() {
        let root = Root::new("/src/app");
        for (file, relative) in [
            ("/src/app/lib/a.rs", Some("lib/a.rs")),
            ("lib/../lib/./a.rs", Some("lib/a.rs")),
            ("/src/application/a.rs", None),
            ("../a.rs", None),
            ("/rustc/abc/library/std/src/net.rs", None),
            ("/src/app", None),
        ] {
            assert_eq!(root.relative(file).as_deref(), relative, "{file}");
        }
    }
}
