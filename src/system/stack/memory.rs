//! The memory of another process: process_vm_readv(2), a few pages at a time and bounded.

use std::io::IoSliceMut;

use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::unistd::Pid;

/// How much is read at once: the smallest page, which is mapped as a whole or not at all.
const PAGE: u64 = 4096;
/// How often a process is read at most.
const MOST_PAGES: usize = 512;

/// The memory of a process that waits, so that what was read stays right.
#[derive(Debug)]
pub(crate) struct Memory {
    pid: Pid,
    pages: Vec<(u64, Vec<u8>)>,
    left: usize,
}

impl Memory {
    /// The memory of this process. Nothing is read yet.
    pub(crate) fn of(pid: i32) -> Memory {
        Memory { pid: Pid::from_raw(pid), pages: Vec::new(), left: MOST_PAGES }
    }

    /// The number of 64 bits at an address; `None` where nothing is mapped there.
    pub(crate) fn word(&mut self, address: u64) -> Option<u64> {
        let mut word = [0; 8];
        self.read(address, &mut word)?;
        Some(u64::from_ne_bytes(word))
    }

    /// Fills a small buffer from an address.
    pub(crate) fn read(&mut self, address: u64, buffer: &mut [u8]) -> Option<()> {
        // Mostly all of it is in the page that was read last.
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

    /// The bytes from an address up to, but not with, the next zero byte; at most `limit` of them.
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

    /// The byte at an address.
    pub(crate) fn byte(&mut self, address: u64) -> Option<u8> {
        // The page that was read last has most of what is asked for.
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

    /// Reads the page with this address.
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
    fn our_own_memory_is_read_and_what_is_not_mapped_is_none() {
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
    fn reading_ends_at_its_bound() {
        let bytes = vec![1_u8; (MOST_PAGES + 2) * PAGE as usize];
        let mut memory = Memory::of(Pid::this().as_raw());
        let read = memory.string(bytes.as_ptr() as u64, bytes.len());
        assert_eq!(read, None);
    }
}
