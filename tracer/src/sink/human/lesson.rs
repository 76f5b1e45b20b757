//! What a verdict means, for `sockleak explain`.

use std::io;

use super::style::{BOLD, PLAIN, Page};
use crate::model::verdict::{Lesson, Verdict};

pub fn write_lesson(
    out: &mut dyn io::Write,
    verdict: Verdict,
    lesson: &Lesson,
    (color, width): (bool, usize),
) -> io::Result<()> {
    let page = &mut Page::new(out, color, width);
    let heading = format!("{verdict}: {}", verdict.title());
    page.paragraph(0, 2, BOLD, &heading)?;
    page.blank()?;
    let parts = [
        ("happened", lesson.happened),
        ("proof", lesson.proof),
        ("blames", lesson.blamed),
        ("do", lesson.remedy),
    ];
    for (label, text) in parts {
        page.labelled(label, PLAIN, text)?;
    }
    page.flush()
}
