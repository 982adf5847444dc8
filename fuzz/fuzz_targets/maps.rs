//! Lines of /proc/PID/maps, whose names other processes choose.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use shmadm::internals::{KernelMounts, Mapping};

static KERNEL: LazyLock<KernelMounts> = LazyLock::new(|| KernelMounts::find().expect("a memfd"));

fuzz_target!(|maps: &[u8]| {
    for line in maps.split(|byte| *byte == b'\n') {
        let Some(mapping) = Mapping::from_line(line) else { continue };
        if mapping.segment(&KERNEL).is_some() {
            assert!(line.windows(5).any(|name| name == b"/SYSV"));
        }
    }
});
