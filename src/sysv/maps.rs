//! Lines of `/proc/PID/maps` (proc_pid_maps(5)), read as bytes: a file's name need not be UTF-8.

use std::ops::Range;

/// One mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mapping {
    /// Addresses, end excluded.
    pub range: Range<u64>,
    /// Device of the mapped file, major and minor.
    pub device: (u64, u64),
}

impl Mapping {
    /// `7f00-7f10 r-xs 00000000 00:01 5 /SYSV0000002a (deleted)`
    pub(super) fn from_line(line: &[u8]) -> Option<Mapping> {
        let mut fields = line.split(|b| *b == b' ').map(|field| str::from_utf8(field).ok());
        let mut field = || fields.next()?;
        let (start, end) = field()?.split_once('-')?;
        let range = hexadecimal(start)?..hexadecimal(end)?;
        let (_access, _offset) = (field()?, field()?);
        let (major, minor) = field()?.split_once(':')?;
        Some(Mapping { range, device: (hexadecimal(major)?, hexadecimal(minor)?) })
    }
}

fn hexadecimal(digits: &str) -> Option<u64> {
    u64::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_up_to_its_device() {
        let line = b"7f6e0af2c000-7f6e0af2d000 r--s 00000000 00:01 5                          /SYSV\xff (deleted)";
        let mapping = Mapping::from_line(line).unwrap();
        assert_eq!(mapping, Mapping { range: 0x7f6e_0af2_c000..0x7f6e_0af2_d000, device: (0, 1) });
        for line in [&b""[..], b"7f6e r--s 0 00:01", b"1-2 r--s 0 0001", b"x-y r--s 0 00:01"] {
            assert_eq!(Mapping::from_line(line), None);
        }
    }
}
