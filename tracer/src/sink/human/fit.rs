//! Names and paths that are too long for their place: what is left out, and what stays.

use textwrap::core::display_width;

/// Pads to `width` columns; longer text stays whole.
pub(super) fn padded(text: &str, width: usize) -> String {
    let gap = width.saturating_sub(display_width(text));
    format!("{text}{:gap$}", "")
}

/// Fits a name into `max` columns by leaving out its middle: both ends of a symbol tell more.
pub(super) fn elide_middle(text: &str, max: usize) -> String {
    if display_width(text) <= max {
        return text.to_owned();
    }
    let keep = max.saturating_sub(1);
    let tail = keep / 2;
    format!("{}…{}", head_of(text, keep - tail), tail_of(text, tail))
}

/// Fits text of which the beginning is enough.
pub(super) fn elide_end(text: &str, max: usize) -> String {
    if display_width(text) <= max {
        return text.to_owned();
    }
    format!("{}…", head_of(text, max.saturating_sub(1)))
}

/// Fits a symbol: arguments go first, then template parameters, then the middle. What is left of
/// `std::vector<int>::push_back(int&&)` is `std::vector<…>::push_back(…)`. A name that begins with a type in
/// brackets keeps of it what there is room for: all `<… as Future>::poll` would look the same.
pub(super) fn fit_symbol(symbol: &str, max: usize) -> String {
    let mut text = symbol.to_owned();
    for (open, close) in [('(', ')'), ('<', '>')] {
        if display_width(&text) <= max {
            return text;
        }
        if open == '<' && text.starts_with('<') {
            return fit_of_type(&text, max);
        }
        text = emptied(&text, open, close);
    }
    elide_middle(&text, max)
}

/// `<app::Handler<T> as Future>::poll`: parameters go first, then the trait, then the middle of the type.
fn fit_of_type(symbol: &str, max: usize) -> String {
    /// Less of a type tells nothing.
    const TELLING: usize = 12;
    let Some(end) = end_of_brackets(symbol) else {
        return elide_middle(symbol, max);
    };
    let kind = symbol.get(1..end - 1).unwrap_or_default();
    let rest = emptied(symbol.get(end..).unwrap_or_default(), '<', '>');
    let bare = emptied(kind, '<', '>');
    if display_width(&bare) + display_width(&rest) + 2 <= max {
        return format!("<{bare}>{rest}");
    }
    let of = bare.split(" as ").next().unwrap_or_default();
    let room = max.saturating_sub(display_width(&rest) + 2);
    if room >= TELLING || display_width(of) <= room {
        return format!("<{}>{rest}", elide_middle(of, room));
    }
    elide_middle(&format!("<…>{rest}"), max)
}

/// Where the brackets end with which it begins.
fn end_of_brackets(symbol: &str) -> Option<usize> {
    let mut depth = 0_usize;
    let mut before = ' ';
    for (at, c) in symbol.char_indices() {
        let arrow = c == '>' && before == '-';
        before = c;
        if c == '<' {
            depth += 1;
        } else if c == '>' && !arrow {
            depth = depth.checked_sub(1)?;
            if depth == 0 {
                return Some(at + 1);
            }
        }
    }
    None
}

/// Replaces what stands between outermost brackets by `…`.
fn emptied(text: &str, open: char, close: char) -> String {
    let mut out = String::with_capacity(text.len());
    let mut depth = 0_usize;
    let mut before = ' ';
    for c in text.chars() {
        // The arrow of a return type closes nothing.
        let arrow = c == '>' && before == '-';
        before = c;
        if c == open {
            if depth == 0 {
                out.extend([open, '…']);
            }
            depth += 1;
        } else if c == close && !arrow && depth > 0 {
            depth -= 1;
            if depth == 0 {
                out.push(close);
            }
        } else if depth == 0 {
            out.push(c);
        }
    }
    out
}

/// Fits a path by leaving out its beginning, at the bound of a directory where one is left.
pub(super) fn fit_path(path: &str, max: usize) -> String {
    if display_width(path) <= max {
        return path.to_owned();
    }
    let tail = tail_of(path, max.saturating_sub(1));
    let bound = tail.find('/').unwrap_or_default();
    format!("…{}", tail.get(bound..).unwrap_or_default())
}

fn head_of(text: &str, columns: usize) -> &str {
    let fits = |end: &usize| display_width(text.get(..*end).unwrap_or_default()) <= columns;
    let end = text
        .char_indices()
        .map(|(at, _)| at)
        .take_while(fits)
        .last()
        .unwrap_or(0);
    text.get(..end).unwrap_or_default()
}

fn tail_of(text: &str, columns: usize) -> &str {
    let fits = |start: &usize| display_width(text.get(*start..).unwrap_or_default()) <= columns;
    let start = text
        .char_indices()
        .map(|(at, _)| at)
        .find(fits)
        .unwrap_or(text.len());
    text.get(start..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elision_keeps_the_telling_end_and_fits() {
        assert_eq!(elide_middle("handle_client", 20), "handle_client");
        assert_eq!(elide_middle("abcdefghij", 7), "abc…hij");
        assert_eq!(fit_path("/home/ci/src/conn.c", 14), "…/src/conn.c");
        assert_eq!(display_width(&elide_middle("漢字漢字漢字", 5)), 5);
        assert_eq!(elide_middle("abc", 1), "…");
    }

    #[test]
    fn a_long_symbol_loses_its_arguments_first() {
        let symbol = "std::map<K, std::vector<V>>::find(K const&, (lambda)#1) const";
        assert_eq!(fit_symbol(symbol, 100), symbol);
        assert_eq!(
            fit_symbol(symbol, 50),
            "std::map<K, std::vector<V>>::find(…) const"
        );
        assert_eq!(fit_symbol(symbol, 30), "std::map<…>::find(…) const");
        assert_eq!(fit_symbol(symbol, 9), "std:…onst");
        assert_eq!(
            fit_symbol("<dyn Fn(u8) -> u8>::call_mut", 20),
            "<…>::call_mut"
        );
        let future =
            "<hyper::proto::h1::dispatch::Dispatcher<D, Bs, I, T> as core::future::Future>::poll";
        assert_eq!(
            fit_symbol(future, 76),
            "<hyper::proto::h1::dispatch::Dispatcher<…> as core::future::Future>::poll"
        );
        assert_eq!(
            fit_symbol(future, 52),
            "<hyper::proto::h1::dispatch::Dispatcher<…>>::poll"
        );
        assert_eq!(fit_symbol(future, 30), "<hyper::prot…patcher<…>>::poll");
    }
}
