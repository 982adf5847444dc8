//! Finding the frame pointer of a function that keeps its frame by it.
//!
//! The kernel tells the stack pointer and the program counter of a thread that waits, and no other register. What the
//! function `call`s does not change the frame pointer, but does not save it either. So it is taken from the function's
//! first instructions, which say how far the frame pointer is above the stack pointer, or else from the only place on the
//! stack that a call of this very function can have left. The place must hold such a return address in both cases: where
//! none or several do, the stack ends here.

#![cfg(target_arch = "x86_64")]

use super::maps::Mappings;
use super::memory::Memory;
use super::unwind::Frame;

/// How much of the stack is searched, in words.
const SEARCHED: u64 = 2048;

/// The frame pointer of this frame, whose function begins at `start`.
pub(super) fn find(frame: &Frame, start: u64, mappings: &Mappings, memory: &mut Memory) -> Option<u64> {
    let calls =
        |fp: u64, memory: &mut Memory| -> Option<Call> { call_before(memory.word(fp + 8)?, start, mappings, memory) };
    if let Some(distance) = distance(start, frame.pc, memory) {
        let fp = frame.sp.checked_add(distance)?;
        if calls(fp, memory).is_some() {
            return Some(fp);
        }
    }
    let mut candidates = (0..SEARCHED).filter_map(|index| {
        let fp = frame.sp.checked_add(8 * index)?;
        let saved = memory.word(fp)?;
        // The caller's frame is above this one, if it has one.
        (calls(fp, memory) == Some(Call::OfThisFunction) && (saved == 0 || saved > fp || saved % 8 != 0)).then_some(fp)
    });
    let found = candidates.next()?;
    candidates.next().is_none().then_some(found)
}

/// What the instruction before a return address calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    OfThisFunction,
    /// Through a register or a table: whatever.
    OfAnything,
}

/// The call before a return address; `None` where there is none, or another function is called.
fn call_before(address: u64, function: u64, mappings: &Mappings, memory: &mut Memory) -> Option<Call> {
    mappings.find(address.checked_sub(1)?)?;
    let mut before = [0; 7];
    memory.read(address.checked_sub(7)?, &mut before)?;
    let relative = |bytes: &[u8]| {
        let offset = i32::from_le_bytes(bytes.try_into().ok()?);
        Some(address.wrapping_add_signed(offset.into()))
    };
    let slot_holds_function = |slot: Option<u64>, memory: &mut Memory| {
        let target = memory.word(slot?)?;
        (target == function).then_some(Call::OfThisFunction)
    };
    match before {
        // call rel32: the function itself, or its stub in the procedure linkage table.
        [_, _, 0xe8, ..] => {
            let target = relative(&before[3..])?;
            if target == function {
                return Some(Call::OfThisFunction);
            }
            let slot = linkage_slot(target, memory);
            slot_holds_function(slot, memory)
        }
        // call *disp32(%rip)
        [_, 0xff, 0x15, ..] => slot_holds_function(relative(&before[3..]), memory),
        // call *disp32(%reg), with and without an index; call *disp8(%reg); call *%reg or *(%reg).
        [0xff, 0x94, ..] | [_, 0xff, 0x90..=0x97, ..] => Some(Call::OfAnything),
        [_, _, _, 0xff, 0x54, ..] | [_, _, _, _, 0xff, 0x50..=0x57, _] => Some(Call::OfAnything),
        [_, _, _, _, _, 0xff, 0xd0..=0xd7 | 0x10..=0x17] => Some(Call::OfAnything),
        _ => None,
    }
}

/// Where a stub of the procedure linkage table takes its target from: `[endbr64] [bnd] jmp *disp32(%rip)`.
fn linkage_slot(stub: u64, memory: &mut Memory) -> Option<u64> {
    let mut bytes = [0; 11];
    memory.read(stub, &mut bytes)?;
    let mut jump = &bytes[..];
    jump = jump.strip_prefix(&[0xf3, 0x0f, 0x1e, 0xfa]).unwrap_or(jump);
    jump = jump.strip_prefix(&[0xf2]).unwrap_or(jump);
    let offset = jump.strip_prefix(&[0xff, 0x25])?.get(..4)?;
    let end = stub + (bytes.len() - jump.len()) as u64 + 6;
    Some(end.wrapping_add_signed(i32::from_le_bytes(offset.try_into().ok()?).into()))
}

/// How far the frame pointer is above the stack pointer, where a function begins with `push %rbp; mov %rsp,%rbp`, perhaps
/// more pushes, and `sub $N,%rsp`. `None` where its first instructions are others.
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
