//! The kernel's table of segments, /proc/sysvipc/shm.

#![no_main]

use libfuzzer_sys::fuzz_target;
use shmadm::internals::Segments;

fuzz_target!(|table: &[u8]| {
    // Without a line of titles the input would not be a table.
    let table = [b"key", table].concat();
    let Ok(segments) = Segments::new(&table[..]) else { return };
    for segment in segments.flatten() {
        // Calls the functions that commands call for each row.
        let _ = (segment.mode().to_string(), segment.plausible_rss(), segment.last_used(), segment.as_created());
        assert!(segment.is_same_as(&segment));
    }
});
