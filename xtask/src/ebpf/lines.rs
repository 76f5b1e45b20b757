//! Takes the source lines out of `.BTF.ext`: two fifths of the compressed object, for remarks in the verifier's log that
//! this program never shows. What is left is what kernels demand of a program with callbacks: its functions' types.

use anyhow::{Context as _, Result, ensure};

pub const SECTION: &str = ".BTF.ext";

/// Little endian, as the target (Documentation/bpf/btf.rst, section 4.2).
const MAGIC: u16 = 0xeb9f;
/// Offsets of fields in the header, bytes. Offsets that they hold are counted from the header's end.
const HEADER_LENGTH: usize = 4;
const FUNCTIONS: usize = 8;
const LINES: usize = 16;
const RELOCATIONS: usize = 24;

/// The same section without lines.
pub fn removed(section: &[u8]) -> Result<Vec<u8>> {
    let magic = section.first_chunk().copied().map(u16::from_le_bytes);
    ensure!(magic == Some(MAGIC), "{SECTION} does not begin as it must");
    let header = word(section, HEADER_LENGTH)?;
    let end_of_functions = word(section, FUNCTIONS)? + word(section, FUNCTIONS + 4)?;
    ensure!(
        word(section, LINES)? == end_of_functions && word(section, RELOCATIONS + 4)? == 0,
        "{SECTION} has its lines elsewhere, or relocations that would go with them"
    );
    let kept = (header + end_of_functions) as usize;
    let mut lean = section
        .get(..kept)
        .with_context(|| format!("{SECTION} is shorter than it says"))?
        .to_vec();
    for part in [LINES, RELOCATIONS] {
        let place = lean
            .get_mut(part..part + 8)
            .context("a header without lines")?;
        let (offset, length) = place.split_at_mut(4);
        // Readers check the offset of a part that has no length.
        offset.copy_from_slice(&end_of_functions.to_le_bytes());
        length.fill(0);
    }
    Ok(lean)
}

fn word(section: &[u8], at: usize) -> Result<u32> {
    let bytes = section.get(at..).and_then(|rest| rest.first_chunk());
    bytes
        .map(|bytes| u32::from_le_bytes(*bytes))
        .with_context(|| format!("{SECTION} ends inside of its header"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(words: [u32; 7], rest: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0x9f, 0xeb, 1, 0];
        bytes.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        bytes.extend(rest);
        bytes
    }

    #[test]
    fn functions_stay_and_lines_go() {
        let before = section([32, 0, 4, 4, 8, 12, 0], b"funclinesofs");
        let after = section([32, 0, 4, 4, 0, 4, 0], b"func");
        assert_eq!(removed(&before).unwrap(), after);
        // Nothing is left to remove.
        assert_eq!(removed(&after).unwrap(), after);
    }

    #[test]
    fn what_would_be_lost_beside_lines_is_refused() {
        let relocations = section([32, 0, 4, 4, 8, 12, 4], b"funclinesofsrelo");
        let order = section([32, 8, 4, 0, 8, 12, 0], b"linesofsfunc");
        let short = section([32, 0, 400, 400, 0, 400, 0], b"func");
        for section in [relocations, order, short, b"other".to_vec(), Vec::new()] {
            assert!(removed(&section).is_err(), "{section:?}");
        }
    }
}
