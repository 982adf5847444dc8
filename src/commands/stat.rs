use clap::Args;
use serde::Serialize;

use super::{Context, TextOrJson, segment_parser};
use crate::error::{Error, Result, Status};
use crate::escape::visible;
use crate::lookup::{self, Named};
use crate::mode::Mode;
use crate::output::{
    Clock, ErrorRecord, Lookups, Output, SegmentRecord, TimeFormat, compact, say, status_words, timestamp,
};
use crate::segment_ref::SegmentRef;
use crate::size::human;
use crate::sysv::{self, Reason, Segment};

/// Show all of a segment
///
/// Puts together what IPC_STAT tells and the segment's row of /proc/sysvipc/shm. Where the mode denies IPC_STAT, the
/// row alone is shown, and said to be so.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    shmadm stat 0x2a\n  \
    shmadm stat id:5 id:6 -f json | jq '.[].nattch'")]
pub(super) struct Stat {
    /// The segments: a key (0x2a, 42, 052), id:N, or ftok:PROJECT:PATH
    #[arg(required = true, value_parser = segment_parser(), allow_negative_numbers = true)]
    segment: Vec<SegmentRef>,
    /// How to print them
    #[arg(short, long, value_enum, default_value_t)]
    format: TextOrJson,
}

/// A segment and how it could be looked at.
struct Looked {
    segment: Segment,
    denied: Option<sysv::Error>,
}

#[derive(Serialize)]
struct StatRecord {
    #[serde(flatten)]
    segment: SegmentRecord,
    denied: Option<String>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Found {
    Segment(Box<StatRecord>),
    Failed { segment: String, error: ErrorRecord },
}

impl Stat {
    pub(super) fn wants_json(&self) -> bool {
        self.format == TextOrJson::Json
    }

    pub(super) fn run(&self, context: &mut Context) -> Result<Status> {
        let Context { output, lookups } = context;
        let mut results: Vec<_> = self.segment.iter().map(|word| (word, look(word))).collect();
        if results.len() == 1
            && let Some((_, Err(error))) = results.pop_if(|(_, result)| result.is_err())
        {
            return Err(error);
        }
        let mut status = Status::Done;
        for error in results.iter().filter_map(|(_, result)| result.as_ref().err()) {
            say(error);
            status = status.and(error.status);
        }
        match self.format {
            TextOrJson::Json => {
                let found = results.iter().map(|(word, result)| match result {
                    Ok(looked) => Found::Segment(Box::new(StatRecord::new(looked, lookups))),
                    Err(error) => Found::Failed { segment: word.to_string(), error: error.into() },
                });
                output.json(&found.collect::<Vec<_>>())?;
            }
            TextOrJson::Text => {
                let mut separator = "";
                for looked in results.iter().filter_map(|(_, result)| result.as_ref().ok()) {
                    output.bytes(separator.as_bytes())?;
                    print(output, looked, lookups)?;
                    separator = "\n";
                }
            }
        }
        Ok(status)
    }
}

impl StatRecord {
    fn new(looked: &Looked, lookups: &Lookups) -> StatRecord {
        StatRecord {
            segment: SegmentRecord::new(&looked.segment, lookups),
            denied: looked.denied.map(|error| error.to_string()),
        }
    }
}

/// Looks at a segment in both ways.
fn look(word: &SegmentRef) -> Result<Looked> {
    let named = lookup::find("stat", word)?;
    let row = lookup::row(named.id);
    match sysv::stat(named.id) {
        // The kernel's answer to a call is of one moment; only the table has the memory.
        Ok(segment) => {
            let (rss, swap) = row.map_or((None, None), |row| (row.rss, row.swap));
            Ok(Looked { segment: Segment { rss, swap, ..segment }, denied: None })
        }
        Err(error) if error.reason == Reason::PermissionDenied => match row.or_else(|| sysv::stat_any(named.id).ok()) {
            Some(segment) => Ok(Looked { segment, denied: Some(error) }),
            None => Err(gone(&named, error)),
        },
        Err(error) if error.reason == Reason::NoSuchSegment => Err(gone(&named, error)),
        Err(error) => Err(Error::call(format_args!("stat {named}"), error)),
    }
}

fn gone(named: &Named, error: sysv::Error) -> Error {
    lookup::missing("stat", named, Some(error.errno))
}

fn print(output: &mut Output, looked: &Looked, lookups: &Lookups) -> Result<()> {
    let Looked { segment, denied } = looked;
    let mut field = |name: &str, value: &str| output.line(format_args!("{name:>12}  {value}"));
    let status = status_words(segment, lookups.processes());

    field("key", &key(segment))?;
    field("id", &segment.id.to_string())?;
    if !status.is_empty() {
        field("status", &status.iter().map(|word| explained(word)).collect::<Vec<_>>().join("; "))?;
    }
    if let Some(error) = denied {
        field("denied", &format!("IPC_STAT: {error}; this is what /proc/sysvipc/shm shows to everyone"))?;
    }
    field("size", &amount(Some(segment.size)))?;
    field("resident", &amount(segment.rss))?;
    field("swapped", &amount(segment.swap))?;
    field("mode", &permissions(segment.mode()))?;
    field("owner", &account(segment.uid, segment.gid, lookups))?;
    field("creator", &account(segment.cuid, segment.cgid, lookups))?;
    field("created by", &creator(segment, lookups))?;
    let never_attached = segment.atime == 0 && segment.dtime == 0;
    field("last used by", &if never_attached { "nobody yet".into() } else { process(segment.lpid) })?;
    field("attachments", &segment.nattch.to_string())?;
    field("last attach", &time(segment.atime, lookups.clock()))?;
    field("last detach", &time(segment.dtime, lookups.clock()))?;
    field("last change", &time(segment.ctime, lookups.clock()))
}

fn key(segment: &Segment) -> String {
    match (segment.key.is_private(), segment.is_marked()) {
        (false, _) => segment.key.to_string(),
        (true, true) => format!("{} (lost when it was removed)", segment.key),
        (true, false) => format!("{} (IPC_PRIVATE)", segment.key),
    }
}

fn explained(status: &str) -> &str {
    match status {
        "dest" => "dest (marked for destruction: goes with its last detach)",
        "locked" => "locked (not swapped out)",
        "orphan" => "orphan (nobody is attached, and its creator has exited)",
        other => other,
    }
}

fn amount(bytes: Option<u64>) -> String {
    match bytes {
        None => "not known without /proc/sysvipc/shm".into(),
        Some(bytes) if bytes < 1024 => format!("{bytes} bytes"),
        Some(bytes) => format!("{bytes} bytes ({})", human(bytes.into())),
    }
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
    let shown =
        |name: Option<std::rc::Rc<str>>| name.map_or("no name".into(), |name| visible(name.as_bytes()).into_owned());
    format!("{} (uid {uid}), group {} (gid {gid})", shown(lookups.names.user(uid)), shown(lookups.names.group(gid)))
}

fn creator(segment: &Segment, lookups: &Lookups) -> String {
    let state = lookups.processes().creator(segment).as_str();
    let command = lookups.processes().command(segment).map_or(String::new(), |command| format!(": {command}"));
    format!("{} ({state}){command}", process(segment.cpid))
}

fn process(pid: i32) -> String {
    match pid {
        0 => "nobody that can be seen from here".into(),
        pid => format!("process {pid}"),
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
