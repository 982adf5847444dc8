//! System V shared memory on Linux, for the command `shmadm`.
//!
//! Imports point down: [`commands`], then [`demo`], [`select`], [`removal`], [`attachments`], [`changes`], [`transfer`],
//! [`creation`], [`destination`], [`lookup`], [`memory`], [`namespace`], [`privileges`], [`child`], [`process`],
//! [`signals`], [`names`], [`parallel`] and [`output`], then [`error`], [`ftok`] and [`segment_ref`], then [`sysv`], then the
//! value types [`key`], [`mode`], [`size`], [`duration`] and [`escape`]. Only [`sysv`] has blocks of `unsafe`, and only
//! [`output`] prints, but for what clap says of bad usage.

// Sizes and offsets of segments are u64 here and size_t to the kernel; the casts between them rely on this.
#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
compile_error!("shmadm is for Linux on 64-bit machines");

pub mod attachments;
pub mod changes;
pub mod child;
pub mod commands;
pub mod creation;
pub mod demo;
pub mod destination;
pub mod duration;
pub mod error;
pub mod escape;
pub mod ftok;
pub mod key;
pub mod lookup;
pub mod memory;
pub mod mode;
pub mod names;
pub mod namespace;
pub mod output;
pub mod parallel;
pub mod privileges;
pub mod process;
pub mod removal;
pub mod segment_ref;
pub mod select;
pub mod signals;
pub mod size;
pub mod sysv;
pub mod transfer;
