//! The machine around segments: processes, names, namespaces, signals, tracepoints.

pub(crate) mod address_space;
pub(crate) mod budget;
pub(crate) mod cgroup;
pub(crate) mod clock;
mod deadline;
pub(crate) mod foreign_file;
pub(crate) mod logind;
pub(crate) mod meminfo;
pub(crate) mod memory_cgroups;
pub(crate) mod memory_left;
pub(crate) mod names;
pub(crate) mod namespace;
pub(crate) mod parallel;
pub(crate) mod patience;
pub(crate) mod privileges;
mod proc_file;
pub(crate) mod process;
mod process_stat;
pub(crate) mod processes;
pub(crate) mod regular_file;
pub(crate) mod signals;
pub(crate) mod spawn;
pub(crate) mod stack;
pub(crate) mod tracepoints;
pub(crate) mod tracer;
pub(crate) mod units;
