//! System V shared memory on Linux, for the command `shmadm`.
//!
//! The modules, from top to bottom: [`commands`], [`demo`], [`contents`], [`output`], [`segments`], [`system`],
//! [`error`], [`sysv`], [`linux`], [`values`]. Imports point down this list.

// Sizes and offsets of segments are u64 here and size_t in the kernel. The casts between them rely on 64 bits.
#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
compile_error!("shmadm is for Linux on 64-bit machines");

mod commands;
mod contents;
mod demo;
mod error;
mod linux;
mod output;
mod segments;
mod system;
mod sysv;
mod values;

pub use commands::main;

/// Items that tests, fuzz targets and benchmarks call directly. This is not a stable interface.
#[doc(hidden)]
pub mod internals {
    pub use crate::commands::Filters;
    pub use crate::output::{
        COLUMNS, Column, Csv, Delimited, Export, Hexdump, Raw, SegmentRecord, TimeFormat, View, write_rows,
    };
    pub use crate::segments::cache::Lookups;
    pub use crate::segments::filter::Selection;
    pub use crate::sysv::{KernelMounts, Mapping, Segment, Segments};
    pub use crate::values::{Key, Mode, Period, ProjectId, SegmentRef, ShmId, Size, visible};
}
