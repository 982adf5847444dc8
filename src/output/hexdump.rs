//! The canonical hexdump, exactly as `hexdump -C` prints it.
//!
//! No library prints this format. A hole of gigabytes becomes one `*` without being read.

use std::io::{self, Write};

const WIDTH: usize = 16;

/// Writes bytes, 16 per line, and repeated lines as one `*`.
#[derive(Debug)]
pub struct Hexdump<W> {
    out: W,
    /// The offset of the first byte of `line`.
    address: u64,
    line: Vec<u8>,
    previous: Option<[u8; WIDTH]>,
    squeezing: bool,
    any: bool,
}

impl<W: Write> Hexdump<W> {
    /// Returns a dump whose first byte has this offset.
    pub fn new(out: W, address: u64) -> Hexdump<W> {
        Hexdump { out, address, line: Vec::with_capacity(WIDTH), previous: None, squeezing: false, any: false }
    }

    /// Adds bytes.
    pub fn push(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        self.any |= !bytes.is_empty();
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(WIDTH - self.line.len()));
            self.line.extend_from_slice(now);
            bytes = later;
            if let Ok(line) = <[u8; WIDTH]>::try_from(&self.line[..]) {
                self.full_line(line)?;
                self.line.clear();
            }
        }
        Ok(())
    }

    /// Adds `count` bytes that are zero.
    pub fn push_zeros(&mut self, mut count: u64) -> io::Result<()> {
        const ZEROS: [u8; WIDTH] = [0; WIDTH];
        // First complete the line and one whole line of zeros; then skip whole lines at once.
        while count > 0 && !(self.line.is_empty() && self.previous == Some(ZEROS)) {
            let step = count.min((WIDTH - self.line.len()) as u64);
            self.push(&ZEROS[..step as usize])?;
            count -= step;
        }
        if count >= WIDTH as u64 {
            self.squeeze()?;
            self.address += count - count % WIDTH as u64;
        }
        self.push(&ZEROS[..(count % WIDTH as u64) as usize])
    }

    /// Writes the last line, and the offset of the end.
    pub fn finish(mut self) -> io::Result<()> {
        if !self.line.is_empty() {
            let rest = std::mem::take(&mut self.line);
            self.print(&rest)?;
            self.address += rest.len() as u64;
        }
        if self.any { writeln!(self.out, "{:08x}", self.address) } else { Ok(()) }
    }

    fn full_line(&mut self, line: [u8; WIDTH]) -> io::Result<()> {
        if self.previous == Some(line) {
            self.squeeze()?;
        } else {
            self.print(&line)?;
            self.previous = Some(line);
            self.squeezing = false;
        }
        self.address += WIDTH as u64;
        Ok(())
    }

    fn squeeze(&mut self) -> io::Result<()> {
        if std::mem::replace(&mut self.squeezing, true) { Ok(()) } else { writeln!(self.out, "*") }
    }

    fn print(&mut self, bytes: &[u8]) -> io::Result<()> {
        write!(self.out, "{:08x} ", self.address)?;
        for column in 0..WIDTH {
            let gap = if column == WIDTH / 2 { "  " } else { " " };
            match bytes.get(column) {
                Some(byte) => write!(self.out, "{gap}{byte:02x}")?,
                None => write!(self.out, "{gap}  ")?,
            }
        }
        self.out.write_all(b"  |")?;
        for byte in bytes {
            let shown = if byte.is_ascii_graphic() || *byte == b' ' { *byte } else { b'.' };
            self.out.write_all(&[shown])?;
        }
        self.out.write_all(b"|\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dump(address: u64, pieces: &[&[u8]], zeros: u64) -> String {
        let mut out = Vec::new();
        let mut dump = Hexdump::new(&mut out, address);
        for piece in pieces {
            dump.push(piece).unwrap();
        }
        dump.push_zeros(zeros).unwrap();
        dump.finish().unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn lines_are_canonical() {
        let line = "00000000  68 65 6c 6c 6f 00                                 |hello.|\n00000006\n";
        assert_eq!(dump(0, &[b"hel", b"lo\0"], 0), line);
        assert_eq!(dump(0, &[], 0), "");
    }

    #[test]
    fn push_zeros_writes_the_same_as_push() {
        for lead in [0, 1, 15, 16, 17, 40] {
            for zeros in [0, 1, 15, 16, 31, 32, 33, 100] {
                let lead = vec![b'x'; lead];
                let bytes = vec![0; zeros];
                assert_eq!(dump(7, &[&lead], zeros as u64), dump(7, &[&lead, &bytes], 0), "{lead:?} {zeros}");
            }
        }
        assert!(
            dump(0, &[b"x"], 1 << 40)
                .ends_with("*\n10000000000  00                                                |.|\n10000000001\n")
        );
    }
}
