//! Environment variables of a process as they are now.
//!
//! `/proc/PID/environ` shows the memory where the first environment was. What a program sets later, as pytest sets
//! PYTEST_CURRENT_TEST for each test, is elsewhere: the variable `environ` of the C library leads there.

use std::collections::BTreeMap;

use super::caller::read as read_file;
use crate::system::stack::{Mappings, Memory, Modules};

/// The most of the first environment that is read.
const MOST_OF_ENVIRONMENT: u64 = 256 << 10;
/// The most variables that are looked at.
const MOST_VARIABLES: u64 = 4096;
/// The longest value that is kept.
const LONGEST_VALUE: usize = 4096;

/// The values of these variables in a process that waits. `first` is where its first environment is.
pub(super) fn read(
    tid: i32,
    names: &[String],
    first: &(u64, u64),
    mappings: &Mappings,
    memory: &mut Memory,
    modules: &mut Modules,
) -> BTreeMap<String, Vec<u8>> {
    if names.is_empty() {
        return BTreeMap::new();
    }
    let initial = read_file(tid, "environ", MOST_OF_ENVIRONMENT).unwrap_or_default();
    match pointers(tid, mappings, memory, modules) {
        Some(pointers) => current(names, &pointers, first.0, &initial, memory),
        None => {
            let strings = initial.split(|byte| *byte == 0);
            strings.filter_map(|string| named(names, string)).collect()
        }
    }
}

/// The elements of `environ`, one for each variable.
fn pointers(tid: i32, mappings: &Mappings, memory: &mut Memory, modules: &mut Modules) -> Option<Vec<u64>> {
    // A program that uses the variable can have a copy of it, which then counts: the program is mapped first.
    let program = mappings.iter().next().map(|mapping| mapping.inode);
    let candidates = mappings.iter().filter(|mapping| Some(mapping.inode) == program || is_c_library(&mapping.path));
    let mut variables = candidates.filter_map(|mapping| {
        let module = modules.of(mapping, tid)?;
        module.address_in_process(mapping, module.environ?)
    });
    let array = memory.word(variables.next()?)?;
    let mut pointers = Vec::new();
    for index in 0..MOST_VARIABLES {
        match memory.word(array.checked_add(8 * index)?)? {
            0 => break,
            pointer => pointers.push(pointer),
        }
    }
    Some(pointers)
}

fn is_c_library(path: &[u8]) -> bool {
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
    [&b"libc.so"[..], b"libc-", b"ld-musl"].into_iter().any(|start| name.starts_with(start))
}

/// The variables that these pointers lead to. Those of the first environment are read already.
fn current(
    names: &[String],
    pointers: &[u64],
    start: u64,
    initial: &[u8],
    memory: &mut Memory,
) -> BTreeMap<String, Vec<u8>> {
    let longest = names.iter().map(String::len).max().unwrap_or(0);
    let read = |pointer: &u64| {
        let inside = pointer.checked_sub(start).and_then(|offset| initial.get(usize::try_from(offset).ok()?..));
        match inside.filter(|rest| !rest.is_empty()) {
            Some(rest) => named(names, rest.split(|byte| *byte == 0).next()?),
            None => named(names, &memory.string(*pointer, longest + 1 + LONGEST_VALUE)?),
        }
    };
    pointers.iter().filter_map(read).collect()
}

/// A variable, if it is one of these.
fn named(names: &[String], string: &[u8]) -> Option<(String, Vec<u8>)> {
    let name =
        names.iter().find(|name| string.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.starts_with(b"=")))?;
    let value = &string[name.len() + 1..];
    Some((name.clone(), value[..value.len().min(LONGEST_VALUE)].to_vec()))
}
