//! Decoding a few x86-64 instructions: calls, and jumps to other functions.

#![cfg(target_arch = "x86_64")]

use super::maps::Mappings;
use super::memory::Memory;

/// The maximum size of a function's code that is searched, in bytes.
const MAX_FUNCTION_BYTES: u64 = 64 << 10;

/// The target of the call instruction before a return address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    /// The function that starts at this address.
    Of(u64),
    /// An indirect call: through a register or a table of pointers.
    OfAnything,
}

/// Returns the call before a return address; `None` if there is no call instruction.
pub(super) fn call_before(address: u64, mappings: &Mappings, memory: &mut Memory) -> Option<Call> {
    mappings.find(address.checked_sub(1)?)?;
    let mut before = [0; 7];
    memory.read(address.checked_sub(7)?, &mut before)?;
    match before {
        // call rel32
        [_, _, 0xe8, offset @ ..] => Some(Call::Of(behind_stub(relative(address, offset), memory))),
        // call *disp32(%rip)
        [_, 0xff, 0x15, offset @ ..] => memory.word(relative(address, offset)).map(Call::Of),
        // call *disp32(%reg), with and without an index; call *disp8(%reg); call *%reg or *(%reg).
        [0xff, 0x94, ..] | [_, 0xff, 0x90..=0x97, ..] => Some(Call::OfAnything),
        [_, _, _, 0xff, 0x54, ..] | [_, _, _, _, 0xff, 0x50..=0x57, _] => Some(Call::OfAnything),
        [_, _, _, _, _, 0xff, 0xd0..=0xd7 | 0x10..=0x17] => Some(Call::OfAnything),
        _ => None,
    }
}

/// Returns where a function jumps to another function at its end instead of calling it (a tail call). `None` if it does
/// not, or if it does so in more than one place.
pub(super) fn jump_to(function: u64, from: u64, length: u64, memory: &mut Memory) -> Option<u64> {
    let mut code = vec![0; usize::try_from(length.min(MAX_FUNCTION_BYTES)).ok()?];
    memory.read(from, &mut code)?;
    let mut found = None;
    for index in 0..code.len().saturating_sub(4) {
        let at = from + index as u64;
        let target = match code[index..] {
            // jmp rel32
            [0xe9, a, b, c, d, ..] => Some(behind_stub(relative(at + 5, [a, b, c, d]), memory)),
            // jmp *disp32(%rip)
            [0xff, 0x25, a, b, c, d, ..] => memory.word(relative(at + 6, [a, b, c, d])),
            _ => None,
        };
        if target == Some(function) && found.replace(at).is_some() {
            return None;
        }
    }
    found
}

fn relative(end: u64, offset: [u8; 4]) -> u64 {
    end.wrapping_add_signed(i32::from_le_bytes(offset).into())
}

/// Returns the function that a stub of the procedure linkage table jumps to: `[endbr64] [bnd] jmp *disp32(%rip)`. For
/// any other code, returns the address itself.
fn behind_stub(address: u64, memory: &mut Memory) -> u64 {
    let target = |memory: &mut Memory| {
        let mut bytes = [0; 11];
        memory.read(address, &mut bytes)?;
        let mut jump = &bytes[..];
        jump = jump.strip_prefix(&[0xf3, 0x0f, 0x1e, 0xfa]).unwrap_or(jump);
        jump = jump.strip_prefix(&[0xf2]).unwrap_or(jump);
        let prefix = (bytes.len() - jump.len()) as u64;
        let offset = jump.strip_prefix(&[0xff, 0x25])?.get(..4)?.try_into().ok()?;
        memory.word(relative(address.checked_add(prefix + 6)?, offset))
    };
    target(memory).unwrap_or(address)
}

#[cfg(test)]
mod tests {
    use nix::unistd::Pid;

    use super::*;

    /// Returns code in our own memory, mapped as if all of it were executable.
    fn in_memory(code: &[u8]) -> (u64, Mappings, Memory) {
        let maps = b"0-7fffffffffff r-xp 00000000 00:00 0 \n";
        (code.as_ptr() as u64, Mappings::parse(maps), Memory::of(Pid::this().as_raw()))
    }

    #[test]
    fn the_call_before_a_return_address_is_decoded() {
        for (instruction, expected) in [
            (&[0x90, 0x90, 0xe8, 0, 1, 0, 0][..], Some("itself")),
            (&[0x90, 0x90, 0x90, 0x90, 0x90, 0xff, 0xd0], Some("anything")),
            (&[0x90, 0x90, 0x90, 0x90, 0xff, 0x50, 0x08], Some("anything")),
            (&[0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90], None),
        ] {
            let mut code = instruction.to_vec();
            code.resize(0x200, 0x90);
            let (start, mappings, mut memory) = in_memory(&code);
            let call = call_before(start + 7, &mappings, &mut memory);
            let found = call.map(|call| if call == Call::Of(start + 0x107) { "itself" } else { "anything" });
            assert_eq!(found, expected, "{instruction:x?}");
        }
    }

    #[test]
    fn only_a_single_jump_to_a_function_is_its_tail_call() {
        let jump = [0xe9, 0xfb, 0, 0, 0];
        for (jumps, expected) in [(0, None), (1, Some(3)), (2, None)] {
            let mut code = vec![0x90; 0x200];
            for index in 0..jumps {
                let at = 3 + 16 * index;
                code[at..at + 5].copy_from_slice(&jump);
                code[at + 1] -= 16 * index as u8;
            }
            let (start, _, mut memory) = in_memory(&code);
            let found = jump_to(start + 0x103, start, 0x100, &mut memory);
            assert_eq!(found, expected.map(|at: u64| start + at), "{jumps}");
        }
    }
}
