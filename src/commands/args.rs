//! Arguments shared by several commands. No command imports another.

mod attaching;
mod filters;
mod format;
mod named;

pub(super) use attaching::Attaching;
pub use filters::Filters;
pub(super) use filters::report_undecided;
pub(super) use format::TextOrJson;
pub(super) use named::{namespace_parser, segment_parser};
