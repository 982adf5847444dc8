//! A complete description of one segment for people: groups of lines, each with a name and a value.

use std::rc::Rc;

use anstyle::Style;
use nix::unistd::geteuid;

use super::attachment::{AttachmentList, AttachmentRecord};
use super::charge::charge_lines;
use super::grid::wrapped;
use super::text::cut;
use super::time::{TimeFormat, compact, timestamp};
use super::{Output, grid};
use crate::error::Result;
use crate::segments::attachments::Proof;
use crate::segments::cache::Lookups;
use crate::segments::charge::Charges;
use crate::segments::state::{self, Presence};
use crate::system::clock::Clock;
use crate::system::patience;
use crate::sysv::{self, Segment};
use crate::values::{Mode, counted, human, human_bytes, known_id};

const HEADING: Style = Style::new().bold();
/// On a terminal narrower than this, the bar is half as long and the lines have fewer spaces.
const NARROW: u16 = 60;
/// The length of a full segment's bar.
const BAR: usize = 20;
/// The maximum number of lines per value: a command line can be very long.
const MAX_LINES: usize = 4;
/// The maximum number of attachments shown: a process can have 100,000.
const MAX_ROWS: usize = 1000;
/// The indentation of the rows of attachments.
const INDENT: usize = 4;

/// A segment, and the error of `IPC_STAT` if it was denied.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Description<'a> {
    /// The segment.
    pub segment: &'a Segment,
    /// The error of `IPC_STAT`.
    pub denied: Option<&'a sysv::Error>,
    /// The cgroups charged for its memory, if requested and known.
    pub charges: Option<&'a Charges>,
    /// Names, processes and attachments.
    pub lookups: &'a Lookups,
}

impl Description<'_> {
    /// Writes the description.
    pub(crate) fn print(self, output: &mut Output) -> Result<()> {
        group(output, "identity", &self.identity())?;
        let bar = if is_narrow(output) { BAR / 2 } else { BAR };
        group(output, "memory", &self.memory(bar))?;
        if let Some(charges) = self.charges {
            heading(output, "charged")?;
            rows(output, charge_lines(charges, self.segment.swap))?;
        }
        group(output, "permissions", &self.permissions())?;
        let attachments = AttachmentList::of(self.segment, self.lookups);
        group(output, "processes", &self.processes(attachments.len() as u64))?;
        print_attachments(output, &attachments)?;
        group(output, "times", &self.times())
    }

    fn identity(self) -> Vec<(&'static str, String)> {
        let segment = self.segment;
        let mut fields = vec![("key", self.key()), ("id", segment.id.to_string())];
        let status: Vec<_> = state::status_words(segment, self.lookups).collect();
        if !status.is_empty() {
            fields.push(("status", status.iter().map(|word| explained(word)).collect::<Vec<_>>().join("; ")));
        }
        if let Some(error) = self.denied {
            fields.push(("denied", format!("IPC_STAT: {error}; this is what /proc/sysvipc/shm shows to everyone")));
        }
        fields
    }

    fn key(self) -> String {
        let segment = self.segment;
        match (segment.key.is_private(), segment.is_marked()) {
            (false, _) => segment.key.to_string(),
            (true, true) => match state::original_key(segment, self.lookups) {
                Some((key, Proof::Unverified)) => {
                    format!("{} (it may have been {key}; that is not verified)", segment.key)
                }
                Some((key, _)) if key.is_private() => format!("{} (IPC_PRIVATE: it never had a key)", segment.key),
                Some((key, _)) => format!("{} (it was {key} until it was removed)", segment.key),
                None => format!("{} (lost when it was removed)", segment.key),
            },
            (true, false) => format!("{} (IPC_PRIVATE)", segment.key),
        }
    }

    fn memory(self, length: usize) -> Vec<(&'static str, String)> {
        let segment = self.segment;
        let resident = match (segment.rss, segment.plausible_rss()) {
            (Some(reported), None) => {
                format!("unreliable: the kernel reports {}, more than the segment can hold", counted(reported, "byte"))
            }
            (_, Some(rss)) => format!("{}{}", amount(Some(rss)), bar(rss, segment.size, length)),
            (None, None) => amount(None),
        };
        vec![("size", amount(Some(segment.size))), ("resident", resident), ("swapped", amount(segment.swap))]
    }

    fn permissions(self) -> Vec<(&'static str, String)> {
        let segment = self.segment;
        vec![
            ("mode", permissions(segment.mode())),
            ("owner", account(segment.uid, segment.gid, self.lookups)),
            ("creator", account(segment.cuid, segment.cgid, self.lookups)),
        ]
    }

    fn processes(self, found: u64) -> Vec<(&'static str, String)> {
        let segment = self.segment;
        let mut fields =
            vec![("created by", creator(segment, self.lookups)), ("last used by", last_user(segment, self.lookups))];
        if let Some(unit) = state::unit(segment, self.lookups) {
            fields.push(("unit", unit.to_string()));
        }
        fields.push(("attachments", segment.nattch.to_string()));
        let missing = segment.nattch.saturating_sub(found);
        if missing > 0 {
            fields.push(("not found", format!("{missing} of {}: {}", segment.nattch, self.why_missing())));
        }
        fields
    }

    fn why_missing(self) -> String {
        let attachments = self.lookups.attachments();
        if let Some(error) = &attachments.error {
            return error.clone();
        }
        let mut reasons = Vec::new();
        if attachments.unreadable > 0 {
            let who = if geteuid().is_root() { "even root is not permitted here" } else { "run as root" };
            reasons.push(format!("{} cannot be inspected; {who}", counted(attachments.unreadable, "process")));
        }
        if attachments.skipped > 0 {
            let those = counted(attachments.skipped, "process");
            reasons.push(format!("{those} not inspected: together they have too many mappings"));
        }
        if !attachments.silent.is_empty() {
            let those = counted(attachments.silent.len(), "process");
            reasons.push(format!("{those} not inspected: {}", patience::reason()));
        }
        if reasons.is_empty() {
            reasons.push(
                "held by processes that /proc does not show here, or that are now in another IPC namespace".into(),
            );
        }
        reasons.join("; ")
    }

    fn times(self) -> Vec<(&'static str, String)> {
        let (segment, clock) = (self.segment, self.lookups.clock());
        [("last attach", segment.atime), ("last detach", segment.dtime), ("last change", segment.ctime)]
            .map(|(name, seconds)| (name, time(seconds, clock)))
            .into()
    }
}

fn is_narrow(output: &Output) -> bool {
    output.width().is_some_and(|width| width < NARROW)
}

fn heading(output: &mut Output, title: &str) -> Result<()> {
    output.styled_line(HEADING, title)
}

/// Writes the lines of a table below a heading, cut to the terminal's width.
fn rows(output: &mut Output, lines: Vec<String>) -> Result<()> {
    let width = output.width().map_or(usize::MAX, usize::from).saturating_sub(INDENT);
    for line in lines {
        output.line(format_args!("{:INDENT$}{}", "", cut(&line, width).trim_end()))?;
    }
    Ok(())
}

fn group(output: &mut Output, title: &str, fields: &[(&str, String)]) -> Result<()> {
    heading(output, title)?;
    // Names are aligned: the longest has 12 characters.
    let (column, gap) = if is_narrow(output) { (12, 1) } else { (14, 2) };
    let width = output.width().map(|width| width.saturating_sub(column + gap).max(column));
    for (name, value) in fields {
        let lines = match width {
            Some(width) => wrapped(value, width, MAX_LINES),
            None => vec![value.clone()],
        };
        for (name, line) in std::iter::once(*name).chain(std::iter::repeat("")).zip(lines) {
            let (column, gap) = (usize::from(column), usize::from(gap));
            output.line(format_args!("{name:>column$}{:gap$}{line}", ""))?;
        }
    }
    Ok(())
}

fn print_attachments(output: &mut Output, attachments: &AttachmentList<'_>) -> Result<()> {
    let shown: Vec<_> = attachments.records().take(MAX_ROWS).collect();
    if shown.is_empty() {
        return Ok(());
    }
    // If no process has a unit, the column would only waste space.
    let has_units = shown.iter().any(|one| one.unit.is_some());
    let row = |one: &AttachmentRecord| {
        let user =
            one.user.as_ref().map(ToString::to_string).or(one.uid.map(|uid| uid.to_string())).unwrap_or_default();
        let command = one.command.as_deref().unwrap_or_default().to_owned();
        let unit = has_units.then(|| one.unit.as_ref().map_or("-".to_owned(), ToString::to_string));
        let doubt = if one.is_unverified { "?" } else { "" };
        let address = format!("{:#x}", one.address);
        let known = [format!("{}{doubt}", one.pid), user, one.access.to_string(), address];
        known.into_iter().chain(unit).chain([command]).collect()
    };
    let mut titles = vec![("PID", true), ("USER", false), ("ACCESS", false), ("ADDRESS", false), ("COMMAND", false)];
    if has_units {
        titles.insert(4, ("UNIT", false));
    }
    rows(output, grid(&titles, shown.iter().map(row).collect()))?;
    if attachments.len() > MAX_ROWS {
        let rest = attachments.len() - MAX_ROWS;
        output.line(format_args!("{:INDENT$}and {rest} more, which -f json shows", ""))?;
    }
    Ok(())
}

fn explained(status: &str) -> &str {
    match status {
        "dest" => "dest (marked for destruction: the last detach destroys it)",
        "locked" => "locked (not swapped out)",
        "orphan" => "orphan (no process has it attached; its creator and last user have exited)",
        other => other,
    }
}

fn amount(bytes: Option<u64>) -> String {
    match bytes {
        None => "not known without /proc/sysvipc/shm".into(),
        Some(bytes) if bytes < 1024 => human_bytes(bytes.into()),
        Some(bytes) => format!("{bytes} bytes ({})", human(bytes.into())),
    }
}

/// Returns a bar showing how much of a segment is resident. The last page may extend beyond its size. A segment with
/// any resident page shows at least one mark.
fn bar(resident: u64, size: u64, length: usize) -> String {
    let share = |whole: u64| (u128::from(resident.min(size)) * u128::from(whole)).div_ceil(u128::from(size.max(1)));
    let full = usize::try_from(share(length as u64)).unwrap_or(length);
    format!("  [{}{}] {} %", "#".repeat(full), ".".repeat(length - full), share(100))
}

fn permissions(mode: Mode) -> String {
    let may = |shift: u16| match mode.bits() >> shift & 0o6 {
        0o6 => "read+write",
        0o4 => "read",
        0o2 => "write",
        _ => "none",
    };
    format!("{mode} (owner {}, group {}, others {})", may(6), may(3), may(0))
}

fn account(uid: u32, gid: u32, lookups: &Lookups) -> String {
    let shown = |name: Option<Rc<str>>, what: &str, id: u32| match (known_id(id), name) {
        (None, _) => format!("unknown (no {what} in this user namespace)"),
        (Some(id), name) => format!("{} ({what} {id})", name.as_deref().unwrap_or("no name")),
    };
    let (user, group) = (lookups.names.user(uid), lookups.names.group(gid));
    format!("{}, group {}", shown(user, "uid", uid), shown(group, "gid", gid))
}

fn creator(segment: &Segment, lookups: &Lookups) -> String {
    let command = state::creator_command(segment, lookups);
    described(segment.cpid, state::creator(segment, lookups), command.as_deref())
}

fn last_user(segment: &Segment, lookups: &Lookups) -> String {
    match state::last_user(segment, lookups) {
        Some(presence) => described(segment.lpid, presence, state::last_command(segment, lookups).as_deref()),
        None => "nobody yet".into(),
    }
}

/// Returns `process 22601 (alive): python3 reader.py`.
fn described(pid: i32, presence: Presence, command: Option<&str>) -> String {
    let command = command.map_or(String::new(), |command| format!(": {command}"));
    match pid {
        0 => "a process that cannot be seen from here".into(),
        pid => format!("process {pid} ({}){command}", presence.as_str()),
    }
}

fn time(seconds: i64, clock: &Clock) -> String {
    match timestamp(seconds) {
        Some(time) => {
            format!("{} ({} ago)", clock.show(time, TimeFormat::Iso), compact(clock.seconds_since(seconds)))
        }
        None => "never".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_has_its_length_and_shows_any_resident_page() {
        assert_eq!(bar(0, 4096, BAR), "  [....................] 0 %");
        assert_eq!(bar(4096, 1 << 40, BAR), "  [#...................] 1 %");
        assert_eq!(bar(512, 1024, BAR), "  [##########..........] 50 %");
        assert_eq!(bar(512, 1024, 10), "  [#####.....] 50 %");
        // The last page extends beyond the size.
        assert_eq!(bar(4096, 10, BAR), "  [####################] 100 %");
        assert_eq!(bar(u64::MAX, u64::MAX, BAR), "  [####################] 100 %");
    }
}
