//! System V shared memory on Linux, for the command `shmadm`.
//!
//! The rooms, from the roof down: [`commands`], [`demo`], [`contents`], [`output`], [`segments`], [`system`], [`error`],
//! [`sysv`], [`values`]. Imports point down this list.

// Sizes and offsets of segments are u64 here and size_t to the kernel; the casts between them rely on this.
#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
compile_error!("shmadm is for Linux on 64-bit machines");

pub mod commands;
pub mod contents;
pub mod demo;
pub mod error;
pub mod output;
pub mod segments;
pub mod system;
pub mod sysv;
pub mod values;
