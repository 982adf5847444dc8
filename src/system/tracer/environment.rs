//! The current environment variables of a process.
//!
//! `/proc/PID/environ` shows the memory of the initial environment. Variables that a program sets later are elsewhere,
//! such as PYTEST_CURRENT_TEST, which pytest sets for each test. The C library's variable `environ` points to them.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::system::proc_file::read as read_file;
use crate::system::stack::{Mappings, Memory, Modules};

/// The maximum number of bytes read of the initial environment.
const MAX_ENVIRONMENT_BYTES: u64 = 256 << 10;
/// The maximum number of variables that are examined.
const MAX_VARIABLES: u64 = 4096;
/// The maximum length of a value that is kept, in bytes.
const MAX_VALUE_BYTES: usize = 4096;

/// Returns the values of these variables in a waiting process; none if finding the current ones takes until the deadline.
pub(super) fn read(
    tid: i32,
    names: &[String],
    mappings: &Mappings,
    memory: &mut Memory,
    modules: &mut Modules,
    deadline: Instant,
) -> BTreeMap<String, Vec<u8>> {
    if names.is_empty() {
        return BTreeMap::new();
    }
    match pointers(tid, mappings, memory, modules, deadline) {
        Some(pointers) => pointers.iter().filter_map(|pointer| named_at(names, *pointer, memory)).collect(),
        // The initial values may be outdated.
        None if Instant::now() >= deadline => BTreeMap::new(),
        None => {
            let first = read_file(tid, "environ", MAX_ENVIRONMENT_BYTES).unwrap_or_default();
            first.split(|byte| *byte == 0).filter_map(|string| named(names, string)).collect()
        }
    }
}

/// Returns the elements of `environ`, one for each variable.
fn pointers(
    tid: i32,
    mappings: &Mappings,
    memory: &mut Memory,
    modules: &mut Modules,
    deadline: Instant,
) -> Option<Vec<u64>> {
    // A program that uses the variable may have its own copy, which takes precedence. The program is mapped first.
    let program = mappings.iter().next().map(|mapping| mapping.inode);
    let candidates = mappings.iter().filter(|mapping| Some(mapping.inode) == program || is_c_library(&mapping.path));
    let in_time = candidates.take_while(|_| Instant::now() < deadline);
    let mut variables = in_time.filter_map(|mapping| {
        let module = modules.of(mapping, tid)?;
        module.address_in_process(mapping, module.environ()?)
    });
    let array = memory.word(variables.next()?)?;
    let mut pointers = Vec::new();
    for index in 0..MAX_VARIABLES {
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

/// Returns the variable that a pointer refers to, if it is one of these. The first bytes usually rule it out, and no
/// more is read then.
fn named_at(names: &[String], pointer: u64, memory: &mut Memory) -> Option<(String, Vec<u8>)> {
    let name = names.iter().find(|name| {
        let mut bytes = name.bytes().chain([b'=']).zip(0..);
        bytes.all(|(byte, offset)| pointer.checked_add(offset).and_then(|at| memory.byte(at)) == Some(byte))
    })?;
    let value = memory.string(pointer.checked_add(name.len() as u64 + 1)?, MAX_VALUE_BYTES)?;
    Some((name.clone(), value))
}

/// Returns the variable, if it is one of these.
fn named(names: &[String], string: &[u8]) -> Option<(String, Vec<u8>)> {
    let name =
        names.iter().find(|name| string.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.starts_with(b"=")))?;
    let value = &string[name.len() + 1..];
    Some((name.clone(), value[..value.len().min(MAX_VALUE_BYTES)].to_vec()))
}
