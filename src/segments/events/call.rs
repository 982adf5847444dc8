//! Formatting a call with the arguments that the kernel received, in strace's notation.

use crate::system::tracepoints::Call;
use crate::sysv::{attach_flags, control_command, get_flags, key_argument};
use crate::values::Key;

/// Returns the call as text.
pub(super) fn text(call: Call, arguments: [u64; 3]) -> String {
    let [first, second, third] = arguments;
    match call {
        Call::Get => {
            format!("shmget({}, {second}, {})", key_argument(key(first)), get_flags(int(third)))
        }
        Call::Attach => format!("shmat({}, {}, {})", int(first), pointer(second), attach_flags(int(third))),
        Call::Detach => format!("shmdt({})", pointer(first)),
        Call::Control => format!("shmctl({}, {}, {})", int(first), control_command(int(second)), pointer(third)),
    }
}

/// Returns an argument that is an int: the upper half of its register is meaningless.
#[expect(clippy::cast_possible_truncation, reason = "the kernel takes the lower half")]
pub(super) fn int(argument: u64) -> i32 {
    (argument as u32).cast_signed()
}

/// Returns an argument that is a key.
pub(super) fn key(argument: u64) -> Key {
    Key::from_raw(int(argument))
}

fn pointer(argument: u64) -> String {
    if argument == 0 { "NULL".into() } else { format!("{argument:#x}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_look_as_strace_writes_them() {
        let minus_one = u64::from(u32::MAX);
        for (call, arguments, expected) in [
            (Call::Get, [0x65, 4096, 0o1600], "shmget(0x00000065, 4096, IPC_CREAT|0600)"),
            (Call::Get, [0, 1, 0o3644], "shmget(IPC_PRIVATE, 1, IPC_CREAT|IPC_EXCL|0644)"),
            (Call::Get, [0xffff_ffff_0000_0065, 0, 0], "shmget(0x00000065, 0, 000)"),
            (Call::Attach, [5, 0, 0o10000], "shmat(5, NULL, SHM_RDONLY)"),
            (Call::Attach, [minus_one, 0x7000, 0], "shmat(-1, 0x7000, 0)"),
            (Call::Detach, [0x7000, 9, 9], "shmdt(0x7000)"),
            (Call::Control, [5, 0, 0], "shmctl(5, IPC_RMID, NULL)"),
            (Call::Control, [5, 1, 0x7ffc], "shmctl(5, IPC_SET, 0x7ffc)"),
            (Call::Control, [5, 99, 0], "shmctl(5, 0x63, NULL)"),
        ] {
            assert_eq!(text(call, arguments), expected);
        }
    }
}
