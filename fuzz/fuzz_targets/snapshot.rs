//! An earlier `list -f json`, as the filter --not-in reads it.

#![no_main]

use clap::Parser;
use libfuzzer_sys::fuzz_target;
use shmadm::internals::Filters;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    filters: Filters,
}

fuzz_target!(|snapshot: &[u8]| {
    let path = std::env::temp_dir().join(format!("shmadm-fuzz-{}", std::process::id()));
    std::fs::write(&path, snapshot).expect("a file");
    let line = Line::try_parse_from(["list".as_ref(), "--not-in".as_ref(), path.as_os_str()]).expect("a line");
    if line.filters.resolve().is_ok() {
        assert!(snapshot.windows(10).any(|word| word == b"\"segments\"") || snapshot.contains(&b'\\'));
    }
    std::fs::remove_file(path).expect("the file");
});
