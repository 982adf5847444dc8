//! The current time, and which recorded times can be compared with it.

use std::cell::OnceCell;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::{env, fs, io};

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use nix::time::{ClockId, clock_gettime};

use super::regular_file;

/// The inode of the initial time namespace, which is fixed (include/linux/proc_ns.h, `PROC_TIME_INIT_INO`).
const INITIAL: u64 = 0xEFFF_FFFA;

/// A moment, and the user's time zone.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    now: Timestamp,
    /// Seconds since the machine booted; `None` if that is unknown.
    uptime: Option<u64>,
    local: OnceCell<Zoned>,
}

impl Clock {
    /// Returns the current time. The time zone is that of TZ, else of /etc/localtime, else UTC.
    pub(crate) fn now() -> Clock {
        Clock { now: Timestamp::now(), uptime: uptime(), local: OnceCell::new() }
    }

    /// Returns a clock with a fixed time, for tests.
    #[cfg(test)]
    pub(crate) fn at(now: Zoned) -> Clock {
        Clock { now: now.timestamp(), uptime: None, local: now.into() }
    }

    /// Returns the clock at another moment, in nanoseconds since the epoch, in the same time zone.
    pub(crate) fn moved_to(&self, nanoseconds: i128) -> Clock {
        let now = Timestamp::from_nanosecond(nanoseconds).unwrap_or(self.now);
        Clock { now, uptime: self.uptime, local: now.to_zoned(self.local().time_zone().clone()).into() }
    }

    /// Returns the moment.
    pub(crate) fn timestamp(&self) -> Timestamp {
        self.now
    }

    /// Returns the moment in the user's time zone.
    pub(crate) fn local(&self) -> &Zoned {
        self.local.get_or_init(|| self.now.to_zoned(time_zone()))
    }

    /// Returns the seconds from a time that the kernel recorded until now. The result is 0 if the clock was later set
    /// back before that time. It is at most the uptime if the clock was set forward, because the kernel recorded
    /// nothing before it booted. If the uptime is unknown, the result is not bounded.
    pub(crate) fn seconds_since(&self, recorded: i64) -> u64 {
        let elapsed = self.now.as_second().saturating_sub(recorded).try_into().unwrap_or(0);
        self.uptime.map_or(elapsed, |uptime| elapsed.min(uptime))
    }

    /// Returns whether a time that the kernel recorded certainly lies between the boot and now. If it does not, the clock
    /// was set after the kernel recorded it.
    pub(crate) fn is_comparable(&self, recorded: i64) -> bool {
        let elapsed = Timestamp::now().as_second().saturating_sub(recorded);
        self.uptime.is_some_and(|uptime| (0..=uptime.cast_signed().saturating_add(1)).contains(&elapsed))
    }
}

/// Returns the seconds since the machine booted, including time suspended: CLOCK_BOOTTIME without the offset that a
/// time namespace adds to it (time_namespaces(7)).
fn uptime() -> Option<u64> {
    let since_boot = clock_gettime(ClockId::CLOCK_BOOTTIME).ok()?.tv_sec();
    // Nearly every process is in the initial time namespace, which adds nothing.
    let is_initial = fs::metadata("/proc/self/ns/time").is_ok_and(|namespace| namespace.ino() == INITIAL);
    let offset = if is_initial { 0 } else { time_namespace_offset(fs::read_to_string("/proc/self/timens_offsets"))? };
    u64::try_from(since_boot.saturating_sub(offset)).ok()
}

/// Returns the seconds that the time namespace adds to CLOCK_BOOTTIME: the line `boottime SECONDS NANOSECONDS`. `None` if
/// the file cannot be read.
fn time_namespace_offset(offsets: io::Result<String>) -> Option<i64> {
    match offsets {
        Ok(offsets) => offsets.lines().find_map(|line| {
            let mut fields = line.split_ascii_whitespace();
            if fields.next()? == "boottime" { fields.next()?.parse().ok() } else { None }
        }),
        // A kernel without CONFIG_TIME_NS does not have the file.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Some(0),
        Err(_) => None,
    }
}

/// The file of the machine's time zone.
const LOCALTIME: &str = "/etc/localtime";

/// Returns the user's time zone. Without TZ this function reads /etc/localtime itself: jiff would also walk all of
/// /usr/share/zoneinfo to find the zone's name.
fn time_zone() -> TimeZone {
    let named = env::var_os("TZ");
    let local = || TimeZone::tzif("", &regular_file::read(LOCALTIME).ok()?).ok();
    let zone = if named.is_some() { None } else { local() };
    let system = || if is_a_stream(named.as_deref()) { None } else { TimeZone::try_system().ok() };
    zone.or_else(system).unwrap_or(TimeZone::UTC)
}

/// Returns whether TZ, or without it /etc/localtime, names a FIFO or a device. The library would read it to the end, which
/// may block for ever.
fn is_a_stream(zone: Option<&OsStr>) -> bool {
    let zone = zone.unwrap_or(OsStr::new(LOCALTIME));
    let path = OsStr::from_bytes(zone.as_bytes().strip_prefix(b":").unwrap_or(zone.as_bytes()));
    fs::metadata(path).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unreadable_offset_of_the_time_namespace_is_unknown() {
        let denied = || io::Error::from(io::ErrorKind::PermissionDenied);
        for (offsets, expected) in [
            (Ok("monotonic           0         0\nboottime        -3600         0\n"), Some(-3600)),
            (Err(io::ErrorKind::NotFound.into()), Some(0)),
            (Err(denied()), None),
            // Masked by an empty file.
            (Ok(""), None),
        ] {
            let shown = format!("{offsets:?}");
            assert_eq!(time_namespace_offset(offsets.map(str::to_owned)), expected, "{shown}");
        }
    }

    #[test]
    fn without_an_uptime_no_time_is_certainly_after_the_boot() {
        let now = Timestamp::now();
        let clock = |uptime| Clock { now, uptime, local: OnceCell::new() };
        assert!(clock(Some(60)).is_comparable(now.as_second() - 10));
        assert!(!clock(Some(60)).is_comparable(now.as_second() - 100));
        assert!(!clock(None).is_comparable(now.as_second() - 10));
        assert_eq!(clock(None).seconds_since(now.as_second() - 100), 100);
    }
}
