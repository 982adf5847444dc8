//! The stack of a thread that waits in a system call: which function of which file made the call.
//!
//! The stack is walked while the thread waits, using the unwind tables (`.eh_frame`) of the mapped files. That takes
//! microseconds. Names, source files and lines take longer, so [`describe()`] looks them up afterwards.

mod code;
mod describe;
mod elf;
mod frame;
mod frame_pointer;
mod maps;
mod memory;
mod module;
mod names;
mod symbols;
mod unwind;

use std::sync::Arc;
use std::time::Instant;

pub(crate) use describe::describe;
pub(crate) use maps::Mappings;
pub(crate) use memory::Memory;
pub(crate) use module::{ModuleFile, Modules};
pub(crate) use symbols::Frame;

/// The maximum number of frames kept per stack.
pub(crate) const MAX_FRAMES: usize = 64;

/// A place in a program: the address of a call, as found on the stack.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// The address relative to the file, as `addr2line` takes it. Without a file, the address in the process.
    pub address: u64,
    /// Whether the address is a return address, which points behind the call.
    pub is_return: bool,
    /// The file; `None` for code that is not mapped from a file, such as that of a just-in-time compiler.
    pub module: Option<Arc<ModuleFile>>,
}

/// Walks the stack of a thread that waits in a system call, innermost frame first.
///
/// `call` is the contents of `/proc/TID/syscall`. Returns no frames if the thread does not wait, or on an architecture
/// that is not supported. After the deadline the remaining frames are left out.
pub(crate) fn walk(
    call: &[u8],
    mappings: &Mappings,
    memory: &mut Memory,
    modules: &mut Modules,
    tid: i32,
    deadline: Instant,
) -> Vec<Place> {
    match registers(call) {
        Some((sp, pc)) => {
            let start = frame::Frame { pc, sp, fp: None, is_return: false };
            unwind::unwind(start, mappings, memory, &mut |mapping| modules.of(mapping, tid), deadline)
        }
        None => Vec::new(),
    }
}

/// Returns the stack pointer and the program counter: the last two numbers of `/proc/TID/syscall`
/// (proc_pid_syscall(5)).
fn registers(call: &[u8]) -> Option<(u64, u64)> {
    let text = str::from_utf8(call).ok()?;
    let mut words = text.split_ascii_whitespace().rev();
    let mut hexadecimal = || u64::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok();
    let pc = hexadecimal()?;
    Some((hexadecimal()?, pc))
}

#[cfg(test)]
mod tests {
    use super::registers;

    #[test]
    fn only_waiting_threads_show_registers() {
        for (line, expected) in [
            (&b"29 0x0 0x1000 0x3b6 0x0 0x0 0x7f 0x7ffc10 0x7f12\n"[..], Some((0x7f_fc10, 0x7f12))),
            (b"-1 0x7ffc10 0x7f12\n", Some((0x7f_fc10, 0x7f12))),
            (b"running\n", None),
            (b"", None),
            (b"29 \xff\n", None),
        ] {
            assert_eq!(registers(line), expected, "{line:?}");
        }
    }
}
