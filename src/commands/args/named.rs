//! The words that name a segment or a namespace. They can be paths, which need not be UTF-8.

use std::ffi::OsString;

use clap::builder::{OsStringValueParser, TypedValueParser};

use crate::system::namespace::NamespaceRef;
use crate::values::SegmentRef;

/// Parses the word that names a segment.
pub(in crate::commands) fn segment_parser() -> impl TypedValueParser<Value = SegmentRef> {
    OsStringValueParser::new().try_map(|word: OsString| SegmentRef::try_from(word))
}

/// Parses the word that names a namespace.
pub(in crate::commands) fn namespace_parser() -> impl TypedValueParser<Value = NamespaceRef> {
    OsStringValueParser::new().try_map(|word: OsString| NamespaceRef::try_from(word))
}
