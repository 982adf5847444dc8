//! Shared by all tests of the command line: a private IPC namespace, running programs and their results, C programs,
//! and the requirements of a test on the machine.

mod cgroup;
mod ended;
mod huge_pages;
mod names;
mod namespace;
mod needs;
mod path;
mod programs;
mod row;
mod running;
mod skips;

pub(crate) use cgroup::Cgroup;
pub(crate) use ended::{Ended, ended, line_of, with_input};
pub(crate) use huge_pages::{huge_pages, huge_segment};
pub(crate) use names::{group_name, user_name};
pub(crate) use namespace::{Namespace, in_namespace, in_namespace_as_root};
pub(crate) use needs::{Need, is_installed, needs, skip, skippable};
pub(crate) use path::shmadm_path;
pub(crate) use programs::{LITTLE_KIB, peak_kib};
pub(crate) use row::{Row, rows};
pub(crate) use running::{Running, children, on_terminal, state_of, wait_until, writes_new_file};
