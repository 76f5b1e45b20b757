//! Formats the second of a timestamp once and reuses it: at 500,000 lines a second calendar
//! arithmetic would cost more than the rest of the line.

use jiff::Timestamp;
use jiff::tz::TimeZone;

#[derive(Debug)]
pub(super) struct Clock {
    zone: TimeZone,
    pattern: &'static str,
    second: Option<i64>,
    text: String,
}

impl Clock {
    pub fn new(zone: TimeZone, pattern: &'static str) -> Self {
        Self {
            zone,
            pattern,
            second: None,
            text: String::new(),
        }
    }

    /// The formatted second, without its fraction.
    pub fn second(&mut self, at: Timestamp) -> &[u8] {
        if self.second != Some(at.as_second()) {
            self.second = Some(at.as_second());
            self.text = at
                .to_zoned(self.zone.clone())
                .strftime(self.pattern)
                .to_string();
        }
        self.text.as_bytes()
    }
}

/// Times before 1970 have no place here; they read as the full second.
pub(super) fn nanoseconds(at: Timestamp) -> u32 {
    u32::try_from(at.subsec_nanosecond()).unwrap_or_default()
}
