//! Numbers as people read them: ages, counts, rates, and the words that agree with them. One style for
//! all parts of a report.

/// `45s`, `13m 32s`, `3h 05m`, `2d 03h`: two units are enough to act on. Not a number reads as 0.
pub fn age(seconds: f64) -> String {
    let seconds = seconds.max(0.0);
    if seconds < 10.0 && seconds.fract() >= 0.05 {
        return format!("{seconds:.1}s");
    }
    let whole = seconds.round() as u64;
    let (minutes, hours, days) = (whole / 60, whole / 3600, whole / 86_400);
    match () {
        () if whole < 60 => format!("{whole}s"),
        () if hours == 0 => format!("{minutes}m {:02}s", whole % 60),
        () if days == 0 => format!("{hours}h {:02}m", minutes % 60),
        () => format!("{days}d {:02}h", hours % 24),
    }
}

/// As [`age`], of nanoseconds.
pub fn span(ns: u64) -> String {
    age(ns as f64 / 1e9)
}

/// A threshold as the user gave it: `60s`, `5m`, `500ms`.
pub fn threshold(seconds: f64) -> String {
    let millis = (seconds.max(0.0) * 1000.0).round() as u64;
    if !millis.is_multiple_of(1000) {
        return if millis < 1000 {
            format!("{millis}ms")
        } else {
            format!("{seconds}s")
        };
    }
    match millis / 1000 {
        whole if whole > 60 && whole.is_multiple_of(3600) => format!("{}h", whole / 3600),
        whole if whole > 60 && whole.is_multiple_of(60) => format!("{}m", whole / 60),
        whole => format!("{whole}s"),
    }
}

/// `12,345`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 socket`, `12,345 sockets`. Only for nouns that take an s.
pub fn counted(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", grouped(number), agree(number, "", "s"))
}

/// The word that goes with the number: `agree(n, "waits", "wait")`.
pub const fn agree<'a>(number: u64, one: &'a str, many: &'a str) -> &'a str {
    if number == 1 { one } else { many }
}

/// Below this a site neither grows nor shrinks in a way worth a word.
const FLAT_PER_MINUTE: f64 = 0.05;

pub fn growth(per_minute: Option<f64>) -> String {
    match per_minute {
        None => "too short to tell if it grows".to_owned(),
        Some(rate) if rate.abs() < FLAT_PER_MINUTE => "not growing".to_owned(),
        Some(rate) if rate < 0.0 => format!("shrinking {} per minute", rate_number(-rate)),
        Some(rate) => format!("growing {} per minute", rate_number(rate)),
    }
}

fn rate_number(rate: f64) -> String {
    if rate < 100.0 {
        format!("{rate:.1}")
    } else {
        grouped(rate.round() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_keep_two_units() {
        let shown = [0.0, 2.44, 9.99, 59.4, 812.3, 11_100.0, 183_600.0, f64::NAN].map(age);
        assert_eq!(
            shown,
            [
                "0s", "2.4s", "10.0s", "59s", "13m 32s", "3h 05m", "2d 03h", "0s"
            ]
        );
    }

    #[test]
    fn thresholds_read_as_they_were_given() {
        let shown = [0.5, 2.0, 60.0, 90.0, 300.0, 7200.0, 1.5].map(threshold);
        assert_eq!(shown, ["500ms", "2s", "60s", "90s", "5m", "2h", "1.5s"]);
    }

    #[test]
    fn counts_are_grouped_and_agree_with_their_noun() {
        assert_eq!(counted(1, "socket"), "1 socket");
        assert_eq!(counted(0, "socket"), "0 sockets");
        assert_eq!(agree(1, "waits", "wait"), "waits");
        assert_eq!(agree(0, "waits", "wait"), "wait");
        assert_eq!(grouped(79_705), "79,705");
        assert_eq!(grouped(1_234_567), "1,234,567");
    }

    #[test]
    fn growth_is_a_phrase() {
        let shown = [None, Some(0.01), Some(4.2), Some(-3.0), Some(1200.0)].map(growth);
        assert_eq!(
            shown,
            [
                "too short to tell if it grows",
                "not growing",
                "growing 4.2 per minute",
                "shrinking 3.0 per minute",
                "growing 1,200 per minute"
            ]
        );
    }
}
