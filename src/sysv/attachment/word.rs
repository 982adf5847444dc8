//! Single words and bytes of an attachment, read and written by one instruction each, as a C program does it.
//!
//! [`Attachment::contents`] copies by system calls, which never fault. The lessons of `demo` need the instructions
//! themselves: two processes that lose each other's updates, and a write that the kernel answers with SIGSEGV.

use std::ptr;
use std::sync::atomic::AtomicU64;

use super::Attachment;

impl Attachment {
    /// Returns the 64-bit word with this index.
    ///
    /// Only for a new segment of normal pages: the kernel has reserved memory for all its pages (mm/shmem.c,
    /// `shmem_acct_size`), so no access ends in SIGBUS. If the attachment is read-only, a store ends in SIGSEGV.
    ///
    /// # Panics
    /// If the word is not within the segment.
    pub(crate) fn word(&self, index: usize) -> &AtomicU64 {
        assert!(index < self.size as usize / size_of::<u64>(), "word {index} of {} bytes", self.size);
        let word = self.address.cast::<u64>().wrapping_add(index);
        // SAFETY: the word is within the attachment, which stays mapped as long as the reference lives, and it is
        // aligned because attachments begin at a page. Every access of this process to it is atomic; other processes
        // access it only through their own attachments.
        unsafe { AtomicU64::from_ptr(word) }
    }

    /// Stores a byte with one instruction. If the attachment is read-only, the kernel ends this process by SIGSEGV:
    /// that is what the caller wants to show.
    ///
    /// # Panics
    /// If the byte is not within the segment.
    pub(crate) fn store_byte(&self, offset: usize, byte: u8) {
        assert!(offset < self.size as usize, "byte {offset} of {} bytes", self.size);
        let at = self.address.cast::<u8>().wrapping_add(offset);
        // SAFETY: the byte is within the attachment, which is mapped, and no reference into it exists. If the mapping
        // is read-only, the write changes nothing, because the processor refuses it.
        unsafe { ptr::write_volatile(at, byte) };
    }
}
