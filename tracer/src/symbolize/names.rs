//! Function, file and line for an address of one image. Answers with nothing rather than with the
//! nearest symbol: a wrong name sends people to the wrong code.

use std::collections::HashMap;
use std::fs::File;
use std::mem;
use std::os::fd::AsRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use blazesym::helper::ElfResolver;
use blazesym::symbolize::{CodeInfo, FindSymOpts, ResolvedSym, Symbolize};

use super::demangle::{cut, readable};
use super::image::Image;
use super::open::FileId;
use super::shadow::{self, Want};

/// Memory that the names of one file may take. A browser with full DWARF stays below.
pub(super) const MAX_COPY: u64 = 1 << 30;
const MAX_REMEMBERED: usize = 4096;
const MAX_PATH: usize = 512;
/// Deeper nests of inlined functions are cut at the outer end.
const MAX_INLINED: usize = 64;

/// What is at one address, innermost first; the last entry is the function that was really called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub function: Option<String>,
    pub file: Option<String>,
    pub line: Option<u32>,
    pub inlined: bool,
}

#[derive(Default)]
pub(super) struct Names {
    /// Asked in this order.
    resolvers: Vec<ElfResolver>,
    /// Separate debug information was not looked for yet.
    debug_file_untried: bool,
    remembered: HashMap<u64, Vec<Place>>,
    /// Bytes held in memory.
    pub size: u64,
    pub problem: Option<Problem>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Problem {
    /// The file was rewritten after the process was looked at.
    Replaced,
    Unusable(&'static str),
}

impl Names {
    /// Separate debug information knows more than the file that runs, but for a C library it takes
    /// 50-100 ms to read: a library's is read when its own symbols do not answer, and without
    /// DWARF. Nobody needs the lines of `recv`.
    pub(super) fn load(image: &Image, library: bool) -> Self {
        let mut names = Self::default();
        if FileId::of(&image.file) != Ok(image.id) {
            names.problem = Some(Problem::Replaced);
            return names;
        }
        if library {
            names.debug_file_untried = true;
        } else if let Some((resolver, size)) = separate_debug_file(image, Want::SymbolsAndDwarf) {
            names.resolvers.push(resolver);
            names.size = size;
        }
        let full = resolver(&image.file, Want::SymbolsAndDwarf);
        // Broken or enormous DWARF must not cost the plain symbols.
        match full.or_else(|_| resolver(&image.file, Want::Symbols)) {
            Ok((resolver, size)) => {
                names.resolvers.push(resolver);
                names.size += size;
            }
            Err(reason) if names.resolvers.is_empty() => {
                names.problem = Some(Problem::Unusable(reason));
            }
            Err(_) => {}
        }
        // Written to while it was copied: half of one version and half of another.
        if FileId::of(&image.file) != Ok(image.id) {
            names.resolvers.clear();
            names.debug_file_untried = false;
            names.problem = Some(Problem::Replaced);
        }
        names
    }

    /// `address` is in the ELF file's address space. Empty when no symbol contains it.
    pub(super) fn at(&mut self, image: &Image, address: u64) -> &[Place] {
        if self.remembered.len() >= MAX_REMEMBERED && !self.remembered.contains_key(&address) {
            self.remembered.clear();
        }
        let Self {
            resolvers,
            debug_file_untried: untried,
            remembered,
            size,
            ..
        } = self;
        let replaced = self.problem == Some(Problem::Replaced);
        remembered.entry(address).or_insert_with(|| {
            let go = image.go.as_ref().filter(|_| !replaced);
            if let Some(places) = go.and_then(|go| go.places(&image.file, image.id, address)) {
                return places;
            }
            let answer = ask(resolvers, address);
            if !answer.is_empty() || !mem::take(untried) {
                return answer;
            }
            if let Some((resolver, more)) = separate_debug_file(image, Want::Symbols) {
                resolvers.push(resolver);
                *size += more;
            }
            ask(resolvers, address)
        })
    }
}

fn ask(resolvers: &mut Vec<ElfResolver>, address: u64) -> Vec<Place> {
    let mut answer = Vec::new();
    resolvers.retain(|resolver| {
        if !answer.is_empty() {
            return true;
        }
        // A file made to trip the parser loses its names and nothing else.
        let found = catch_unwind(AssertUnwindSafe(|| {
            match resolver.find_sym(address, &FindSymOpts::CodeInfoAndInlined) {
                Ok(Ok(symbol)) => places(&symbol, address),
                _ => Vec::new(),
            }
        }));
        found.map(|places| answer = places).is_ok()
    });
    answer
}

fn places(symbol: &ResolvedSym<'_>, address: u64) -> Vec<Place> {
    let contains = match symbol.size {
        Some(size) => address
            .checked_sub(symbol.addr)
            .is_some_and(|distance| distance < size as u64),
        // No size and no start: a function in several pieces, found by its DWARF ranges. A symbol
        // without a size has a start, and blazesym reports it for everything up to the next one.
        None => symbol.addr == 0 && symbol.code_info.is_some(),
    };
    if !contains || symbol.name.is_empty() {
        return Vec::new();
    }
    // Listed from the outermost to the innermost, each with the line inside itself.
    let inlined = symbol.inlined.iter().take(MAX_INLINED).rev();
    let mut places: Vec<Place> = inlined
        .map(|inner| place(&inner.name, inner.code_info.as_ref(), true))
        .collect();
    places.push(place(symbol.name, symbol.code_info.as_deref(), false));
    places
}

fn place(name: &str, code: Option<&CodeInfo<'_>>, inlined: bool) -> Place {
    Place {
        function: (!name.is_empty()).then(|| readable(name)),
        file: code.map(|code| shown_path(&code.to_path())),
        // Line 0 is DWARF for "no line in particular".
        line: code.and_then(|code| code.line).filter(|line| *line != 0),
        inlined,
    }
}

fn shown_path(path: &Path) -> String {
    cut(&path.to_string_lossy(), MAX_PATH).to_owned()
}

fn resolver(file: &File, want: Want) -> Result<(ElfResolver, u64), &'static str> {
    let copy = shadow::copy(file, want, MAX_COPY)?;
    let number = copy.file.as_raw_fd();
    // The helper's root directory may be the list of its descriptors.
    let mut paths = [format!("/proc/self/fd/{number}"), format!("/{number}")].into_iter();
    let resolver = paths.find_map(|path| open_resolver(Path::new(&path)));
    let resolver = resolver.ok_or("damaged symbols or debug information")?;
    Ok((resolver, copy.size))
}

/// The copy's mapping outlives its descriptor. No directory is searched for further files.
fn open_resolver(path: &Path) -> Option<ElfResolver> {
    let nowhere: [&Path; 0] = [];
    catch_unwind(|| ElfResolver::open_with_debug_dirs(path, nowhere).ok())
        .ok()
        .flatten()
}

/// Used only when it was made for this very build.
fn separate_debug_file(image: &Image, want: Want) -> Option<(ElfResolver, u64)> {
    let build_id = image.build_id.as_deref()?;
    let is_for_this_build = |file: &&File| {
        let parse = || Image::parse(file.try_clone().ok()?, FileId::of(file).ok()?).ok();
        parse().is_some_and(|found| found.build_id.as_deref() == Some(build_id))
    };
    let mut files = image.debug_files.iter().filter_map(|file| file.get());
    let file = files.find(is_for_this_build)?;
    resolver(file, want)
        .or_else(|_| resolver(file, Want::Symbols))
        .ok()
}
