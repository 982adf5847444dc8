//! What is known and decided about segments. Prints nothing.

pub mod attachments;
pub mod changes;
pub mod create;
pub mod filter;
pub mod lookup;
pub mod remove;
