//! Parsers and filters of the library itself, without the program and without the kernel.

#[path = "../cli/support/needs.rs"]
#[allow(dead_code, reason = "most of it is for the tests of the command line")]
mod needs;
#[path = "../cli/support/skips.rs"]
mod skips;

mod properties;
mod seeds;
