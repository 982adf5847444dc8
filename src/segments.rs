//! The state of segments, and decisions about them. Prints nothing.

pub(crate) mod all_namespaces;
pub(crate) mod attachments;
pub(crate) mod cache;
pub(crate) mod changes;
pub(crate) mod charge;
pub(crate) mod create;
pub(crate) mod creators;
pub(crate) mod doctor;
pub(crate) mod events;
pub(crate) mod filter;
pub(crate) mod hidden_attachments;
mod hints;
pub(crate) mod holders;
pub(crate) mod leaks;
pub(crate) mod lookup;
pub(crate) mod objects;
pub(crate) mod remove;
pub(crate) mod rmid_forced;
pub(crate) mod snapshot;
pub(crate) mod state;
pub(crate) mod tables;
pub(crate) mod users;
