//! Kernel interfaces outside System V IPC that no well-maintained crate offers, or offers only as `unsafe`.
//!
//! Only this module and [`crate::sysv`] contain `unsafe`.

#![allow(unsafe_code)]

mod companion;
mod descriptor;
mod detach;
mod disposition;
mod errno;
mod fork;
mod kcmp;
mod namespace;
mod page_cgroups;
mod page_frames;
mod perf;
mod procmap;
pub(crate) mod seccomp;
mod shared_page;
mod user_namespace;

pub(crate) use companion::Companion;
pub(crate) use descriptor::duplicate_inherited;
pub(crate) use disposition::{ignore, is_ignored, restore_default};
pub(crate) use errno::{cause, uninterrupted};
pub(crate) use fork::{in_child, start, written_by_child};
pub(crate) use kcmp::{compare_files, compare_memory};
pub(crate) use namespace::NamespaceFile;
pub(crate) use page_cgroups::PageCgroups;
pub(crate) use page_frames::PageFrames;
pub(crate) use perf::{descriptor, filter, share_ring};
pub(crate) use procmap::{FileMapping, mapping_at, next_shared_file};
pub(crate) use shared_page::line_of_a_shared_page;
pub(crate) use user_namespace::{
    covers_all, forget_maps, known_gid, known_uid, may_be_unmapped_gid, may_be_unmapped_uid, overflow_gid, overflow_uid,
};
