//! Links the program so that it starts quickly.

use std::env;
use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // The unwinder, of which the standard library makes its backtraces, from the archive: libgcc_s.so asks the processor
    // for all its features when it is loaded, which takes a virtual machine a tenth of the time of a short list.
    if env::var("CARGO_CFG_TARGET_ENV").is_ok_and(|libc| libc == "gnu") && archive_is_there() {
        println!("cargo:rustc-link-lib=static:-bundle=gcc_eh");
    }
}

/// Whether the C compiler, by which rustc links, has the archive. It prints its path, or the mere name.
fn archive_is_there() -> bool {
    let printed = Command::new("cc").arg("-print-file-name=libgcc_eh.a").output();
    printed.is_ok_and(|printed| str::from_utf8(&printed.stdout).is_ok_and(|path| Path::new(path.trim()).is_absolute()))
}
