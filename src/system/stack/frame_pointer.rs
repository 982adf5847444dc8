//! Finding the frame pointer of a function whose unwind rule needs it.
//!
//! The kernel shows only the stack pointer and the program counter of a waiting thread. The functions called since have
//! not changed the frame pointer, but have not saved it either. The function's first instructions may show how far the
//! frame pointer is above the stack pointer. Otherwise it is derived from the only return address on the stack that a
//! call of this very function can have left. In both cases a return address must be found at the expected place. If none
//! or several are found, the walk ends here.

#![cfg(target_arch = "x86_64")]

use super::code::{Call, call_before};
use super::frame::Frame;
use super::maps::Mappings;
use super::memory::Memory;

/// The number of words of the stack that are searched.
const SEARCHED: u64 = 2048;

/// Returns the frame pointer of this frame, whose function starts at `start`. The frame ends `size` bytes above the
/// frame pointer, with the return address.
pub(super) fn find(frame: &Frame, start: u64, size: u64, mappings: &Mappings, memory: &mut Memory) -> Option<u64> {
    let to_return_address = size.checked_sub(8)?;
    if size == 16
        && let Some(fp) = distance(start, frame.pc, memory).and_then(|distance| frame.sp.checked_add(distance))
        && let Some(address) = fp.checked_add(to_return_address).and_then(|slot| memory.word(slot))
        && call_before(address, mappings, memory).is_some()
    {
        return Some(fp);
    }
    let mut candidates = (0..SEARCHED).filter_map(|index| {
        let fp = frame.sp.checked_add(8 * index)?;
        let address = memory.word(fp.checked_add(to_return_address)?)?;
        (call_before(address, mappings, memory) == Some(Call::Of(start))).then_some(fp)
    });
    let found = candidates.next()?;
    candidates.next().is_none().then_some(found)
}

/// Returns the distance of the frame pointer above the stack pointer, for a function that starts with `push %rbp; mov
/// %rsp,%rbp`, perhaps more pushes, and `sub $N,%rsp`. `None` for other first instructions.
fn distance(start: u64, pc: u64, memory: &mut Memory) -> Option<u64> {
    let mut bytes = [0; 40];
    memory.read(start, &mut bytes)?;
    let end = usize::try_from(pc.checked_sub(start)?).ok()?.min(bytes.len());
    let mut code = &bytes[..end];
    code = code.strip_prefix(&[0xf3, 0x0f, 0x1e, 0xfa]).unwrap_or(code);
    code = code.strip_prefix(&[0x55])?;
    code = code.strip_prefix(&[0x48, 0x89, 0xe5]).or_else(|| code.strip_prefix(&[0x48, 0x8b, 0xec]))?;
    let mut pushed = 0;
    loop {
        match code {
            [0x50..=0x57, rest @ ..] | [0x41, 0x50..=0x57, rest @ ..] => {
                pushed += 8;
                code = rest;
            }
            [0x48, 0x83, 0xec, size, ..] => return Some(pushed + u64::from(*size)),
            [0x48, 0x81, 0xec, a, b, c, d, ..] => {
                return Some(pushed + u64::from(u32::from_le_bytes([*a, *b, *c, *d])));
            }
            _ => return Some(pushed),
        }
    }
}
