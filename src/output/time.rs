//! How times and ages are shown.

use jiff::Timestamp;

use crate::system::clock::Clock;

/// The format of a point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeFormat {
    /// `10:07` today, else `Nov 22`, else `2025-11-22`.
    Short,
    /// `Mon Nov 23 10:07:31 2026`.
    Full,
    /// `2026-11-23T10:07:31+01:00`.
    Iso,
    /// Seconds since 1970.
    Epoch,
    /// `5m ago`.
    Relative,
}

impl TimeFormat {
    /// Returns the default format of a list: short for people, else machine-readable.
    pub fn default_for(people: bool) -> TimeFormat {
        if people { TimeFormat::Short } else { TimeFormat::Iso }
    }
}

impl Clock {
    /// Returns this moment in UTC, with milliseconds: `2026-11-23T09:07:31.250Z`.
    pub(crate) fn utc(&self) -> String {
        format!("{:.3}", self.timestamp())
    }

    /// Returns this moment with seconds, `10:07:31`, and with the date if the day is not that of `began`.
    pub(crate) fn to_the_second(&self, began: &Clock) -> String {
        let pattern = if self.local().date() == began.local().date() { "%H:%M:%S" } else { "%b %e %H:%M:%S" };
        self.local().strftime(pattern).to_string()
    }

    /// Returns a point in time in a format.
    pub(crate) fn show(&self, time: Timestamp, format: TimeFormat) -> String {
        let zoned = || time.to_zoned(self.local().time_zone().clone());
        match format {
            TimeFormat::Short => {
                let then = zoned();
                let pattern = match (then.date() == self.local().date(), then.year() == self.local().year()) {
                    (true, _) => "%H:%M",
                    (false, true) => "%b %e",
                    (false, false) => "%Y-%m-%d",
                };
                then.strftime(pattern).to_string()
            }
            TimeFormat::Full => zoned().strftime("%a %b %e %H:%M:%S %Y").to_string(),
            TimeFormat::Iso => zoned().strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(),
            TimeFormat::Epoch => time.as_second().to_string(),
            TimeFormat::Relative => format!("{} ago", compact(self.seconds_since(time.as_second()))),
        }
    }
}

/// Returns a kernel time as a point in time; `None` for 0, which means never.
pub(super) fn timestamp(seconds: i64) -> Option<Timestamp> {
    Timestamp::from_second(seconds).ok().filter(|_| seconds != 0)
}

/// Returns a length of time in its largest unit: `42s`, `5m`, `3h`, `12d`.
pub(super) fn compact(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use jiff::Zoned;

    use super::*;

    fn at_moment(now: Zoned) -> Clock {
        Clock::at(now)
    }

    #[test]
    fn each_format() {
        let now: Zoned = "2026-11-23T10:07:31[UTC]".parse().unwrap();
        let clock = at_moment(now);
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let then = at("2026-11-23T09:02:00Z");
        for (format, shown) in [
            (TimeFormat::Short, "09:02"),
            (TimeFormat::Full, "Mon Nov 23 09:02:00 2026"),
            (TimeFormat::Iso, "2026-11-23T09:02:00+00:00"),
            (TimeFormat::Epoch, "1795424520"),
            (TimeFormat::Relative, "1h ago"),
        ] {
            assert_eq!(clock.show(then, format), shown);
        }
        assert_eq!(clock.show(at("2026-01-02T00:00:00Z"), TimeFormat::Short), "Jan  2");
        assert_eq!(clock.show(at("2025-12-31T23:59:59Z"), TimeFormat::Short), "2025-12-31");
        assert_eq!((clock.utc(), clock.to_the_second(&clock)), ("2026-11-23T10:07:31.000Z".into(), "10:07:31".into()));
        let before = at_moment("2026-11-22T10:07:31[UTC]".parse().unwrap());
        assert_eq!(clock.to_the_second(&before), "Nov 23 10:07:31");
        // The clock was set back. An age is never negative.
        assert_eq!(clock.show(at("2027-01-01T00:00:00Z"), TimeFormat::Relative), "0s ago");
    }
}
