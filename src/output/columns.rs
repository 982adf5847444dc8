//! The columns of a list. A new column is one row of [`COLUMNS`]: the help, the parser, the formats and the completion
//! are derived from the table.

mod cell;
mod column;

pub(crate) use column::Alignment;
pub use column::Column;
pub(super) use column::EXPENDABLE;

use crate::segments::holders::Holders;
use crate::segments::state::{self, Presence};

/// The maximum length of a column's help line. With the title it fits a terminal of 60 columns.
#[cfg(test)]
const HELP_WIDTH: usize = 48;

/// The defaults of a text column. Each row sets the other fields.
const TEXT: Column = Column {
    title: "",
    help: "",
    alignment: Alignment::Left,
    is_expensive: false,
    can_be_cut: false,
    write: |_, _, _| {},
    order: None,
};

/// The defaults of a number column. Each row sets the other fields, including the order.
const NUMBER: Column = Column { alignment: Alignment::Right, ..TEXT };

/// All columns, in the order of `-o all`.
pub static COLUMNS: &[Column] = &[
    Column {
        title: "KEY",
        help: "Key; 0x00000000 without one",
        write: |segment, _, text| cell::value(text, segment.key),
        order: Some(|a, b| a.key.cmp(&b.key)),
        ..TEXT
    },
    Column {
        title: "ID",
        help: "Identifier (shmid)",
        write: |segment, _, text| cell::value(text, segment.id),
        order: Some(|a, b| a.id.cmp(&b.id)),
        ..NUMBER
    },
    Column {
        title: "SIZE",
        help: "Size that was requested",
        write: |segment, view, text| cell::bytes(text, Some(segment.size), view),
        order: Some(|a, b| a.size.cmp(&b.size)),
        ..NUMBER
    },
    Column {
        title: "RSS",
        help: "How much of it is in memory",
        write: |segment, view, text| match (segment.plausible_rss(), segment.rss) {
            (None, Some(_)) if view.human_sizes => text.push('?'),
            (rss, _) => cell::bytes(text, rss, view),
        },
        order: Some(|a, b| a.plausible_rss().cmp(&b.plausible_rss())),
        ..NUMBER
    },
    Column {
        title: "SWAP",
        help: "How much of it is swapped out",
        write: |segment, view, text| cell::bytes(text, segment.swap, view),
        order: Some(|a, b| a.swap.cmp(&b.swap)),
        ..NUMBER
    },
    Column {
        title: "PERMS",
        help: "Permissions, as ls(1) shows them",
        write: |segment, _, text| text.extend(segment.mode().letters()),
        order: Some(|a, b| a.mode().bits().cmp(&b.mode().bits())),
        ..TEXT
    },
    Column {
        title: "MODE",
        help: "Permissions in octal",
        write: |segment, _, text| cell::value(text, segment.mode()),
        order: Some(|a, b| a.mode().bits().cmp(&b.mode().bits())),
        ..TEXT
    },
    Column {
        title: "OWNER",
        help: "Owner's name, or the uid if it has no name",
        // Numbers are written directly, without a temporary string for each row of a long list.
        write: |segment, view, text| match view.lookups.names.user(segment.uid) {
            Some(user) => text.push_str(&user),
            None => cell::id_or_mark(text, segment.uid),
        },
        ..TEXT
    },
    Column {
        title: "USER",
        help: "Owner's name",
        write: |segment, view, text| cell::name(text, view.lookups.names.user(segment.uid)),
        ..TEXT
    },
    Column {
        title: "UID",
        help: "Owner's number",
        write: |segment, view, text| cell::id(text, segment.uid, view),
        order: Some(|a, b| a.uid.cmp(&b.uid)),
        ..NUMBER
    },
    Column {
        title: "GROUP",
        help: "Name of the owner's group",
        write: |segment, view, text| cell::name(text, view.lookups.names.group(segment.gid)),
        ..TEXT
    },
    Column {
        title: "GID",
        help: "Number of the owner's group",
        write: |segment, view, text| cell::id(text, segment.gid, view),
        order: Some(|a, b| a.gid.cmp(&b.gid)),
        ..NUMBER
    },
    Column {
        title: "CUSER",
        help: "Creator's name",
        write: |segment, view, text| cell::name(text, view.lookups.names.user(segment.cuid)),
        ..TEXT
    },
    Column {
        title: "CUID",
        help: "Creator's number",
        write: |segment, view, text| cell::id(text, segment.cuid, view),
        order: Some(|a, b| a.cuid.cmp(&b.cuid)),
        ..NUMBER
    },
    Column {
        title: "CGROUP",
        help: "Name of the creator's group",
        write: |segment, view, text| cell::name(text, view.lookups.names.group(segment.cgid)),
        ..TEXT
    },
    Column {
        title: "CGID",
        help: "Number of the creator's group",
        write: |segment, view, text| cell::id(text, segment.cgid, view),
        order: Some(|a, b| a.cgid.cmp(&b.cgid)),
        ..NUMBER
    },
    Column {
        title: "NATTCH",
        help: "Number of attachments",
        write: |segment, _, text| cell::value(text, segment.nattch),
        order: Some(|a, b| a.nattch.cmp(&b.nattch)),
        ..NUMBER
    },
    Column {
        title: "STATUS",
        help: "dest (marked for destruction), locked, orphan",
        write: |segment, view, text| cell::joined(text, state::status_words(segment, view.lookups)),
        ..TEXT
    },
    Column {
        title: "ATIME",
        help: "Time of the last attach",
        write: |segment, view, text| cell::time(text, segment.atime, view),
        order: Some(|a, b| a.atime.cmp(&b.atime)),
        ..TEXT
    },
    Column {
        title: "DTIME",
        help: "Time of the last detach",
        write: |segment, view, text| cell::time(text, segment.dtime, view),
        order: Some(|a, b| a.dtime.cmp(&b.dtime)),
        ..TEXT
    },
    Column {
        title: "CTIME",
        help: "Time of creation, or of the last IPC_SET",
        write: |segment, view, text| cell::time(text, segment.ctime, view),
        order: Some(|a, b| a.ctime.cmp(&b.ctime)),
        ..TEXT
    },
    Column {
        title: "AGE",
        help: "Time since CTIME",
        write: |segment, view, text| cell::since(text, segment.ctime, view),
        order: Some(|a, b| b.ctime.cmp(&a.ctime)),
        ..NUMBER
    },
    Column {
        title: "IDLE",
        help: "Time since the latest of ATIME, DTIME and CTIME",
        write: |segment, view, text| cell::since(text, segment.last_used(), view),
        order: Some(|a, b| b.last_used().cmp(&a.last_used())),
        ..NUMBER
    },
    Column {
        title: "CPID",
        help: "Pid of the creator",
        write: |segment, _, text| cell::value(text, segment.cpid),
        order: Some(|a, b| a.cpid.cmp(&b.cpid)),
        ..NUMBER
    },
    Column {
        title: "LPID",
        help: "Pid of the last user (last attach or detach)",
        write: |segment, _, text| cell::value(text, segment.lpid),
        order: Some(|a, b| a.lpid.cmp(&b.lpid)),
        ..NUMBER
    },
    Column {
        title: "COMMAND",
        help: "The creator's command, or (the last user's)",
        can_be_cut: true,
        write: |segment, view, text| cell::command(text, segment, view.lookups),
        ..TEXT
    },
    Column {
        title: "CREATOR",
        help: "State of the creator: alive, exited or unknown",
        write: |segment, view, text| text.push_str(state::creator(segment, view.lookups).as_str()),
        ..TEXT
    },
    Column {
        title: "LASTUSER",
        help: "State of the last user, in the same words",
        write: |segment, view, text| {
            cell::name(text, state::last_user(segment, view.lookups).map(Presence::as_str));
        },
        ..TEXT
    },
    Column {
        title: "LCOMMAND",
        help: "The last user's command",
        can_be_cut: true,
        write: |segment, view, text| cell::name(text, state::last_command(segment, view.lookups)),
        ..TEXT
    },
    Column {
        title: "UNIT",
        help: "Unit, container or pod of creator or last user",
        can_be_cut: true,
        write: |segment, view, text| {
            if let Some(unit) = state::unit(segment, view.lookups) {
                cell::value(text, unit);
            }
        },
        ..TEXT
    },
    Column {
        title: "HOLDERS",
        help: "Commands that have it attached, and how often",
        is_expensive: true,
        can_be_cut: true,
        write: |segment, view, text| cell::value(text, Holders::of(segment, view.lookups)),
        ..TEXT
    },
    Column {
        title: "PIDS",
        help: "Processes that have it attached",
        is_expensive: true,
        can_be_cut: true,
        write: |segment, view, text| cell::joined(text, cell::pids(segment, view.lookups)),
        ..TEXT
    },
    Column {
        title: "ORIGKEY",
        help: "Key that a marked segment had",
        is_expensive: true,
        write: |segment, view, text| {
            if let Some((key, proof)) = state::original_key(segment, view.lookups) {
                cell::value(text, key);
                text.push_str(cell::doubt(proof));
            }
        },
        ..TEXT
    },
    Column {
        title: "NS",
        help: "Inode of its IPC namespace",
        write: |segment, _, text| {
            if let Some(inode) = segment.namespace {
                cell::value(text, inode);
            }
        },
        order: Some(|a, b| a.namespace.cmp(&b.namespace)),
        ..NUMBER
    },
];

/// Returns every column with its help, one per line.
pub(crate) fn column_help() -> String {
    let width = COLUMNS.iter().map(|column| column.title.len()).max().unwrap_or(0);
    COLUMNS.iter().map(|Column { title, help, .. }| format!("  {title:width$}  {help}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::column::DEFAULT_COLUMNS;
    use super::*;

    #[test]
    fn each_row_is_complete() {
        for column in COLUMNS {
            assert!(!column.help.is_empty() && column.help.len() <= HELP_WIDTH, "{column:?}: {}", column.help);
            assert_eq!(Column::named(&column.title.to_lowercase()), Ok(column), "two rows have this title");
            assert!(column.alignment == Alignment::Left || column.order.is_some(), "{column:?} sorts numbers as text");
        }
        assert_eq!(Column::defaults().len(), DEFAULT_COLUMNS.len());
        assert!(column_help().lines().all(|line| line.len() <= 60));
    }
}
