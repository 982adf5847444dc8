//! Completion candidates for arguments. Nothing here fails: on an error there are no candidates.

use std::collections::BTreeSet;
use std::ffi::OsStr;

use clap_complete::engine::{CompletionCandidate, PathCompleter, ValueCompleter};

use crate::output::{COLUMNS, Column};
use crate::segments::lookup::rows;
use crate::system::names::Names;
use crate::system::regular_file;
use crate::sysv::Segment;
use crate::values::{Key, human, visible};

fn existing() -> impl Iterator<Item = Segment> {
    rows().into_iter().flatten().map_while(Result::ok)
}

/// Returns the existing segments, each named in the way that the word begins with: by key, by identifier, or by path.
pub(super) fn segments(word: &OsStr) -> Vec<CompletionCandidate> {
    let bytes = word.as_encoded_bytes();
    if let Some(path_at) = bytes.strip_prefix(b"ftok:").and_then(path_of_ftok) {
        return paths(word, path_at);
    }
    let names = Names::default();
    let word = word.to_str().unwrap_or_default();
    let named = existing().filter_map(|segment| {
        let id = format!("id:{}", segment.id);
        let by_key = written(segment.key, word);
        let by_id = (by_key.is_none() && id.starts_with(word)).then_some(id);
        // For an empty word one name per segment is enough: the key if there is one.
        let by_id = by_id.filter(|_| !word.is_empty() || segment.key.is_private());
        let explained = explained(&segment, by_key.is_some(), &names);
        by_key.or(by_id).map(|name| CompletionCandidate::new(name).help(Some(explained.into())))
    });
    named.collect()
}

/// Returns the existing keys.
pub(super) fn keys(word: &OsStr) -> Vec<CompletionCandidate> {
    let names = Names::default();
    let word = word.to_str().unwrap_or_default();
    let key = |segment: Segment| {
        let explained = explained(&segment, true, &names);
        written(segment.key, word).map(|key| CompletionCandidate::new(key).help(Some(explained.into())))
    };
    existing().filter_map(key).collect()
}

/// Returns the words that `create` accepts instead of a key.
pub(super) fn new_keys() -> Vec<CompletionCandidate> {
    [("private", "IPC_PRIVATE: no key finds it"), ("random", "a key that is not in use")]
        .map(|(word, help)| CompletionCandidate::new(word).help(Some(help.into())))
        .into()
}

/// Returns the columns of a list.
pub(super) fn columns() -> Vec<CompletionCandidate> {
    let candidate =
        |column: &Column| CompletionCandidate::new(column.title.to_lowercase()).help(Some(column.help.into()));
    COLUMNS.iter().map(candidate).collect()
}

/// Returns users: those of segments, from any name service, and those of this machine.
pub(super) fn users() -> Vec<CompletionCandidate> {
    let names = Names::default();
    let of_segments = existing().flat_map(|segment| [segment.uid, segment.cuid]);
    names_of(of_segments.filter_map(|uid| names.user(uid)).map(|name| name.to_string()), "/etc/passwd")
}

/// Returns groups in the same way as [`users`].
pub(super) fn groups() -> Vec<CompletionCandidate> {
    let names = Names::default();
    let of_segments = existing().flat_map(|segment| [segment.gid, segment.cgid]);
    names_of(of_segments.filter_map(|gid| names.group(gid)).map(|name| name.to_string()), "/etc/group")
}

fn names_of(of_segments: impl Iterator<Item = String>, file: &str) -> Vec<CompletionCandidate> {
    let file = regular_file::read(file).unwrap_or_default();
    let lines = file.split(|byte| *byte == b'\n').filter_map(|line| str::from_utf8(line).ok());
    let names = lines.filter_map(|line| line.split_once(':')).map(|(name, _)| name.to_owned());
    let is_plain = |name: &String| !name.is_empty() && visible(name.as_bytes()) == *name;
    let all: BTreeSet<String> = of_segments.chain(names).filter(is_plain).collect();
    all.into_iter().map(CompletionCandidate::new).collect()
}

/// Returns a key in the notation that the word begins with: in full (`0x0000002a`), or short (`0x2a` or `42`).
fn written(key: Key, word: &str) -> Option<String> {
    let number = key.as_unsigned();
    let notations = [key.to_string(), format!("{number:#x}"), number.to_string()];
    notations.into_iter().find(|notation| !key.is_private() && notation.starts_with(word))
}

/// Returns a description that distinguishes a segment from others, without its name.
fn explained(segment: &Segment, by_key: bool, names: &Names) -> String {
    let size = human(segment.size.into());
    let owner = names.user_or_uid(segment.uid);
    match (by_key, segment.key.is_private()) {
        (true, _) => format!("id {}, {size}, {owner}", segment.id),
        (false, false) => format!("key {}, {size}, {owner}", segment.key),
        (false, true) => format!("no key, {size}, {owner}"),
    }
}

/// Returns where the path begins in `ftok:PROJECT:PATH`, without the prefix `ftok:`.
fn path_of_ftok(rest: &[u8]) -> Option<usize> {
    // The first byte belongs to the project id, and can itself be a colon.
    let colon = rest.iter().skip(1).position(|byte| *byte == b':')? + 1;
    Some("ftok:".len() + colon + 1)
}

/// Returns files, prefixed by what precedes the path in the word.
fn paths(word: &OsStr, path_at: usize) -> Vec<CompletionCandidate> {
    let Some((before, path)) = word.to_str().and_then(|word| word.split_at_checked(path_at)) else { return Vec::new() };
    let paths = PathCompleter::any().complete(OsStr::new(path));
    let is_plain =
        |path: &CompletionCandidate| path.get_value().to_str().is_some_and(|path| visible(path.as_bytes()) == path);
    paths.into_iter().filter(is_plain).map(|path| path.add_prefix(before)).collect()
}
