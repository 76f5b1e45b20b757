//! A cpio archive in the kernel's "newc" format (Documentation/driver-api/early-userspace/
//! buffer-format.rst), written here because device nodes need no root this way.

use std::collections::BTreeSet;

const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const PLAIN: u32 = 0o100_644;
const CHARACTER_DEVICE: u32 = 0o020_600;

#[derive(Default)]
pub struct Archive {
    bytes: Vec<u8>,
    folders: BTreeSet<String>,
    entries: u32,
}

impl Archive {
    /// The folder at `path` and all above it, once.
    pub fn folder(&mut self, path: &str) {
        let path = path.trim_matches('/');
        if path.is_empty() || self.folders.contains(path) {
            return;
        }
        if let Some((above, _)) = path.rsplit_once('/') {
            self.folder(above);
        }
        self.folders.insert(path.to_owned());
        self.entry(path, DIRECTORY, (0, 0), &[]);
    }

    /// Everything is executable: it does no harm to what is only read.
    pub fn file(&mut self, path: &str, content: &[u8]) {
        self.with_mode(path, PROGRAM, content);
    }

    /// For readers who mind.
    pub fn plain(&mut self, path: &str, content: &[u8]) {
        self.with_mode(path, PLAIN, content);
    }

    fn with_mode(&mut self, path: &str, mode: u32, content: &[u8]) {
        let path = path.trim_start_matches('/');
        if let Some((above, _)) = path.rsplit_once('/') {
            self.folder(above);
        }
        self.entry(path, mode, (0, 0), content);
    }

    pub fn device(&mut self, path: &str, major: u32, minor: u32) {
        let path = path.trim_start_matches('/');
        if let Some((above, _)) = path.rsplit_once('/') {
            self.folder(above);
        }
        self.entry(path, CHARACTER_DEVICE, (major, minor), &[]);
    }

    pub fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, (0, 0), &[]);
        self.bytes
    }

    fn entry(&mut self, path: &str, mode: u32, device: (u32, u32), content: &[u8]) {
        self.entries += 1;
        let name = path.len() as u32 + 1;
        let fields = [
            self.entries, // inode
            mode,
            0, // owner
            0, // group
            1, // links
            0, // time of change: none, so that equal contents give equal archives
            content.len() as u32,
            0, // device the file is on
            0,
            device.0,
            device.1,
            name,
            0, // checksum: not in this variant
        ];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes
                .extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(path.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    /// Names and contents begin at multiples of four.
    fn pad(&mut self) {
        let padded = self.bytes.len().next_multiple_of(4);
        self.bytes.resize(padded, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_110_characters_and_everything_is_aligned() {
        let mut archive = Archive::default();
        archive.file("/a/b", b"xyz");
        archive.file("/a/c", b"");
        let bytes = archive.finish();
        let text = String::from_utf8(bytes).unwrap();
        // "a", "a/b", "a/c" and the trailer: the folder is there once, before its files.
        let starts: Vec<usize> = text.match_indices("070701").map(|(at, _)| at).collect();
        assert_eq!(starts.len(), 4);
        assert!(starts.iter().all(|start| start % 4 == 0));
        assert_eq!(text.get(110..112), Some("a\0"));
        let file = starts[1];
        assert_eq!(text.get(file + 14..file + 22), Some("000081ed"));
        assert_eq!(text.get(file + 110..file + 114), Some("a/b\0"));
    }
}
