//! A stack as a few lines: the program's own frames stand out, what lies between them is folded.

use std::io;

use textwrap::core::display_width;

use super::HumanOptions;
use super::fit::{elide_end, fit_path, fit_symbol, padded};
use super::style::{BAD, BOLD, DIM, GUTTER, PLAIN, Page};
use crate::model::quantity::counted;
use crate::model::report::Blame;
use crate::model::stack::Frame;
use crate::model::untrusted::Escaped;

/// Own frames beyond this say how the program got there, not where it leaks.
const MAX_SHOWN: usize = 8;
/// Names of modules in one folded line.
const MAX_MODULES: usize = 3;
const MARKER: usize = 2;
/// Enough of a build-id to tell two builds apart.
const BUILD_ID: usize = 13;

enum Row<'f> {
    Shown(&'f Frame),
    Folded(Vec<&'f Frame>),
}

pub(super) fn write(
    page: &mut Page<'_>,
    frames: &[Frame],
    truncated: bool,
    blame: Option<&Blame>,
    options: &HumanOptions<'_>,
) -> io::Result<()> {
    let (rows, left_out) = rows(frames, options);
    let room = page.room(GUTTER + MARKER);
    let widest = rows
        .iter()
        .filter_map(Row::name)
        .map(|name| display_width(&name))
        .max();
    // The name may take what its place in the source leaves, and half of the line in any case.
    let names = widest.unwrap_or(0).min(room / 2);
    let mut unmarked = blame;
    for row in &rows {
        match row {
            Row::Folded(frames) => {
                let hint = options.verbose && frames.len() >= MAX_SHOWN;
                write_note(page, &folded(frames, hint))?;
            }
            Row::Shown(frame) => {
                let marked = unmarked.take_if(|blame| is_blamed(frame, blame)).is_some();
                write_frame(page, frame, names, marked)?;
            }
        }
    }
    if left_out > 0 {
        write_note(
            page,
            &format!(
                "… {} (-v shows all)",
                counted(left_out as u64, "more frame")
            ),
        )?;
    }
    if truncated {
        write_note(page, "… the outer callers could not be followed")?;
    }
    Ok(())
}

/// What to show, and how many frames were left out at the end.
fn rows<'f>(frames: &'f [Frame], options: &HumanOptions<'_>) -> (Vec<Row<'f>>, usize) {
    let limit = if options.verbose {
        usize::MAX
    } else {
        MAX_SHOWN
    };
    // Without a frame of its own the runtime's frames are all there is to go by.
    let fold = !options.every_frame && frames.iter().any(options.is_application);
    let mut rows: Vec<Row<'f>> = Vec::new();
    let (mut shown, mut used) = (0, 0);
    for frame in frames {
        if fold && !(options.is_application)(frame) {
            match rows.last_mut() {
                Some(Row::Folded(run)) => run.push(frame),
                _ => rows.push(Row::Folded(vec![frame])),
            }
        } else if shown < limit {
            rows.push(Row::Shown(frame));
            shown += 1;
        } else {
            break;
        }
        used += 1;
    }
    (rows, frames.len() - used)
}

impl Row<'_> {
    fn name(&self) -> Option<String> {
        match self {
            Self::Shown(frame) => Some(name(frame)),
            Self::Folded(_) => None,
        }
    }
}

fn write_note(page: &mut Page<'_>, text: &str) -> io::Result<()> {
    page.paragraph(GUTTER + MARKER, 2, DIM, text)
}

fn write_frame(page: &mut Page<'_>, frame: &Frame, names: usize, marked: bool) -> io::Result<()> {
    let room = page.room(GUTTER + MARKER);
    let place = place(frame);
    // A short place leaves more room for a long name.
    let longest = names.max(room.saturating_sub(2 + display_width(&place)));
    let name = padded(&fit_symbol(&name(frame), longest), names);
    let place = fit_path(&place, room.saturating_sub(2 + display_width(&name)));
    let sign = if marked { "> " } else { "  " };
    let line = format!(
        "{:GUTTER$}{}{}  {}",
        "",
        page.paint(BAD, sign),
        page.paint(BOLD, &name),
        page.paint(PLAIN, &place)
    );
    page.line(line.trim_end())
}

/// Escaped here already: the width of what is printed counts.
fn name(frame: &Frame) -> String {
    Escaped(&frame.function.clone().unwrap_or_else(|| frame.place())).to_string()
}

fn place(frame: &Frame) -> String {
    let inlined = if frame.inlined { " (inlined)" } else { "" };
    let place = match (&frame.file, frame.line, &frame.function) {
        (Some(file), Some(line), _) => format!("{file}:{line}"),
        (Some(file), None, _) => file.clone(),
        (None, _, Some(_)) => frame.module.clone().unwrap_or_default(),
        // The build says which debug symbols would name the frame; `blame` has it whole.
        (None, _, None) => match &frame.build_id {
            Some(id) => format!("build-id {}", elide_end(id, BUILD_ID)),
            None => String::new(),
        },
    };
    Escaped(&format!("{place}{inlined}")).to_string()
}

/// `hint`: the next thing to ask for would show them.
fn folded(run: &[&Frame], hint: bool) -> String {
    let mut modules: Vec<&str> = Vec::new();
    for frame in run {
        let module = frame.module.as_deref().unwrap_or("unmapped code");
        if !modules.contains(&module) {
            modules.push(module);
        }
    }
    let rest = if modules.len() > MAX_MODULES {
        ", …"
    } else {
        ""
    };
    modules.truncate(MAX_MODULES);
    let hint = if hint { " (-vv shows all)" } else { "" };
    format!(
        "… {} in {}{rest}{hint}",
        counted(run.len() as u64, "frame"),
        modules.join(", ")
    )
}

fn is_blamed(frame: &Frame, blame: &Blame) -> bool {
    let named = match &frame.function {
        Some(function) => function == blame.function.raw(),
        None => frame.place() == blame.function.raw(),
    };
    named && frame.line == blame.line
}
