//! The machine around segments: processes, names, namespaces, signals.

pub mod names;
pub mod namespace;
pub mod parallel;
pub mod privileges;
pub mod process;
pub mod signals;
pub mod spawn;
