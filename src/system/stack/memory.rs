//! Reading another process's memory with process_vm_readv(2): one page at a time, up to a limit.

use std::io::IoSliceMut;

use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::unistd::Pid;

/// The number of bytes read at once: the smallest page size. A page is mapped completely or not at all.
const PAGE: u64 = 4096;
/// The maximum number of pages read from one process.
const MAX_PAGES: usize = 512;

/// The memory of a process. The process waits, so that cached pages stay valid.
#[derive(Debug)]
pub(crate) struct Memory {
    pid: Pid,
    pages: Vec<(u64, Vec<u8>)>,
    left: usize,
}

impl Memory {
    /// Returns the memory of this process. Nothing is read yet.
    pub(crate) fn of(pid: i32) -> Memory {
        Memory { pid: Pid::from_raw(pid), pages: Vec::new(), left: MAX_PAGES }
    }

    /// Returns the 64-bit word at an address; `None` if nothing is mapped there.
    pub(crate) fn word(&mut self, address: u64) -> Option<u64> {
        let mut word = [0; 8];
        self.read(address, &mut word)?;
        Some(u64::from_ne_bytes(word))
    }

    /// Fills a small buffer with the bytes at an address.
    pub(crate) fn read(&mut self, address: u64, buffer: &mut [u8]) -> Option<()> {
        // Usually all of it is in the page read last.
        if let Some((start, bytes)) = self.pages.last()
            && let Some(from) = address.checked_sub(*start).and_then(|from| usize::try_from(from).ok())
            && let Some(found) = from.checked_add(buffer.len()).and_then(|to| bytes.get(from..to))
        {
            buffer.copy_from_slice(found);
            return Some(());
        }
        for (index, byte) in buffer.iter_mut().enumerate() {
            *byte = self.byte(address.checked_add(index as u64)?)?;
        }
        Some(())
    }

    /// Returns the bytes from an address to the next zero byte, which is not included; at most `limit` bytes.
    pub(crate) fn string(&mut self, address: u64, limit: usize) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        while bytes.len() < limit {
            match self.byte(address.checked_add(bytes.len() as u64)?)? {
                0 => break,
                byte => bytes.push(byte),
            }
        }
        Some(bytes)
    }

    /// Returns the byte at an address.
    pub(crate) fn byte(&mut self, address: u64) -> Option<u8> {
        // The page read last usually contains the address.
        let at =
            |(start, bytes): &(u64, Vec<u8>)| bytes.get(usize::try_from(address.checked_sub(*start)?).ok()?).copied();
        match self.pages.iter().rev().find_map(at) {
            Some(byte) => Some(byte),
            None => {
                self.fetch(address)?;
                self.pages.last().and_then(at)
            }
        }
    }

    /// Reads the page that contains this address.
    fn fetch(&mut self, address: u64) -> Option<()> {
        self.left = self.left.checked_sub(1)?;
        let start = address & !(PAGE - 1);
        let mut bytes = vec![0; PAGE as usize];
        let page = RemoteIoVec { base: start as usize, len: PAGE as usize };
        let read = process_vm_readv(self.pid, &mut [IoSliceMut::new(&mut bytes)], &[page]).ok()?;
        bytes.truncate(read);
        self.pages.push((start, bytes));
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_mapped_memory_is_read() {
        let text = b"a name\0behind";
        let address = text.as_ptr() as u64;
        let mut memory = Memory::of(Pid::this().as_raw());
        assert_eq!(memory.string(address, 64).as_deref(), Some(&b"a name"[..]));
        assert_eq!(memory.string(address, 3).as_deref(), Some(&b"a n"[..]));
        assert_eq!(memory.word(address), Some(u64::from_ne_bytes(*b"a name\0b")));
        for missing in [0, u64::MAX, u64::MAX - 3] {
            assert_eq!(memory.word(missing), None, "{missing:#x}");
        }
    }

    #[test]
    fn reading_ends_at_the_limit() {
        let bytes = vec![1_u8; (MAX_PAGES + 2) * PAGE as usize];
        let mut memory = Memory::of(Pid::this().as_raw());
        let read = memory.string(bytes.as_ptr() as u64, bytes.len());
        assert_eq!(read, None);
    }
}
