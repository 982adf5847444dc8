//! Parsers for the names of segments and namespaces. A name can contain a path, which need not be UTF-8.

use std::ffi::OsString;

use clap::builder::{OsStringValueParser, TypedValueParser};

use crate::system::namespace::NamespaceRef;
use crate::values::SegmentRef;

/// Returns the parser for the name of a segment.
pub(in crate::commands) fn segment_parser() -> impl TypedValueParser<Value = SegmentRef> {
    OsStringValueParser::new().try_map(|word: OsString| SegmentRef::try_from(word))
}

/// Returns the parser for the name of a namespace.
pub(in crate::commands) fn namespace_parser() -> impl TypedValueParser<Value = NamespaceRef> {
    OsStringValueParser::new().try_map(|word: OsString| NamespaceRef::try_from(word))
}
