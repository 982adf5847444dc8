//! Programs with malicious files. Reading their symbols must not harm guard.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;

use super::*;
use crate::support::shmadm_path;

/// The address space that guard gets in bytes. Symbols that fit into it are read.
const ADDRESS_SPACE: u64 = 768 << 20;

/// Guards a program with little memory. Returns the functions of the stack in the report, innermost first.
#[track_caller]
fn stack(ns: &Namespace, program: &str) -> Vec<String> {
    let mut guard = ns.program("prlimit");
    guard.args([&format!("--as={ADDRESS_SPACE}"), "--core=0", "--"]);
    guard.arg(shmadm_path()).args(["guard", "--report", "report", "--", program]);
    let ended = ended(&mut guard);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains("created by process") && !ended.err.contains("overflow"), "{ended:?}");
    let report = report(ns);
    let stack = report["leaked"][0]["created_by"]["stack"].as_array().expect("a stack").clone();
    stack.iter().map(|frame| frame["function"].as_str().unwrap_or("?").to_owned()).collect()
}

#[test]
fn thousands_of_inlined_levels_cost_source_lines_and_not_the_report() {
    in_namespace(|ns| {
        ns.compile("deep_inlining");
        let functions = stack(ns, "./deep_inlining");
        assert!(functions.iter().any(|function| function == "main"), "{functions:?}");
    });
}

#[test]
fn sections_as_large_as_the_disk_are_not_read() {
    in_namespace(|ns| {
        let source = ns.file("leak.c", "#include <sys/shm.h>\nint main(void) { return shmget(7, 1, 01600) == -1; }\n");
        for (sections, is_named) in [
            (&[".debug_info", ".debug_str", ".debug_line"][..], true),
            (&[".symtab", ".strtab", ".dynsym", ".eh_frame"], false),
        ] {
            ns.run("cc", ["-g", "-o", "leak", source.to_str().expect("a path")]);
            enlarge(&ns.path("leak"), sections, 500 << 20);
            let functions = stack(ns, "./leak");
            assert_eq!(functions.iter().any(|function| function == "main"), is_named, "{sections:?} {functions:?}");
        }
    });
}

/// Changes an ELF file so that these sections claim to have this many bytes, and extends the file to that length by a hole.
fn enlarge(path: &std::path::Path, sections: &[&str], size: u64) {
    let bytes = std::fs::read(path).expect("a program");
    let word = |at: usize, length: usize| {
        let bytes = bytes[at..at + length].iter().rev();
        bytes.fold(0, |value, byte| value << 8 | usize::from(*byte))
    };
    // elf(5): e_shoff, e_shnum and e_shstrndx of the header, then sh_name, sh_offset and sh_size of each section.
    let (table, number, names) = (word(0x28, 8), word(0x3c, 2), word(0x3e, 2));
    let header = |index: usize| table + 64 * index;
    let strings = word(header(names) + 24, 8);
    let file = OpenOptions::new().write(true).open(path).expect("a program");
    let mut end = 0;
    for index in 0..number {
        let name = strings + word(header(index), 4);
        if sections.iter().any(|section| bytes[name..].starts_with(format!("{section}\0").as_bytes())) {
            file.write_all_at(&size.to_le_bytes(), header(index) as u64 + 32).expect("a header");
            end = end.max(word(header(index) + 24, 8) as u64 + size);
        }
    }
    assert!(end > size, "{sections:?}");
    file.set_len(end).expect("a hole");
}
