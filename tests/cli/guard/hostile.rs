//! Programs with malicious files. Reading their symbols must not harm guard.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::*;
use crate::support::shmadm_path;

/// The address space that guard gets in bytes. Symbols that fit into it are read.
const ADDRESS_SPACE: u64 = 768 << 20;

/// Guards a program with little memory. Returns the report.
#[track_caller]
fn guarded(ns: &Namespace, program: &str) -> Value {
    let mut guard = ns.program("prlimit");
    guard.args([&format!("--as={ADDRESS_SPACE}"), "--core=0", "--"]);
    guard.arg(shmadm_path()).args(["guard", "--report", "report", "--", program]);
    let ended = ended(&mut guard);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains("created by process") && !ended.err.contains("overflow"), "{ended:?}");
    report(ns)
}

/// Guards a program with little memory. Returns the functions of the stack in the report, innermost first.
#[track_caller]
fn stack(ns: &Namespace, program: &str) -> Vec<String> {
    functions(&guarded(ns, program)["leaked"][0])
}

/// Returns the functions of a leak's stack, innermost first.
#[track_caller]
fn functions(leak: &Value) -> Vec<String> {
    let stack = leak["created_by"]["stack"].as_array().expect("a stack").clone();
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

/// Returns where the header of a section of an ELF file is, and its offset in the file.
fn section(bytes: &[u8], section: &str) -> (u64, u64) {
    let word = |at: usize, length: usize| {
        let bytes = bytes[at..at + length].iter().rev();
        bytes.fold(0, |value, byte| value << 8 | usize::from(*byte))
    };
    // elf(5): e_shoff, e_shnum and e_shstrndx of the header, then sh_name and sh_offset of each section.
    let (table, number, names) = (word(0x28, 8), word(0x3c, 2), word(0x3e, 2));
    let strings = word(table + 64 * names + 24, 8);
    let mut headers = (0..number).map(|index| table + 64 * index);
    let name = format!("{section}\0");
    let header = headers.find(|header| bytes[strings + word(*header, 4)..].starts_with(name.as_bytes()));
    let header = header.expect("a section with this name");
    (header as u64, word(header + 24, 8) as u64)
}

/// Changes an ELF file so that these sections claim to have this many bytes, and extends the file to that length by a hole.
fn enlarge(path: &Path, sections: &[&str], size: u64) {
    let bytes = std::fs::read(path).expect("a program");
    let file = OpenOptions::new().write(true).open(path).expect("a program");
    for name in sections {
        let (header, offset) = section(&bytes, name);
        file.write_all_at(&size.to_le_bytes(), header + 32).expect("a header");
        let length = file.metadata().expect("its length").len();
        file.set_len(length.max(offset + size)).expect("a hole");
    }
}

/// Replaces a section of an ELF file.
fn replace(path: &Path, name: &str, contents: &[u8]) {
    let mut bytes = std::fs::read(path).expect("a program");
    let header = section(&bytes, name).0 as usize;
    bytes.resize(bytes.len().next_multiple_of(16), 0);
    let (offset, size) = (bytes.len() as u64, contents.len() as u64);
    bytes[header + 24..header + 32].copy_from_slice(&offset.to_le_bytes());
    bytes[header + 32..header + 40].copy_from_slice(&size.to_le_bytes());
    bytes.extend(contents);
    std::fs::write(path, bytes).expect("a program");
}

#[test]
fn a_name_without_an_end_does_not_hide_the_process() {
    in_namespace(|ns| {
        ns.file("leak.c", "#include <sys/shm.h>\nint main(void) { return shmget(7, 1, 01600) == -1; }\n");
        ns.run("cc", ["-g", "-o", "leak", "leak.c"]);
        // Function symbols that all have the same name.
        let symbol = [&[1, 0, 0, 0, 0x12, 0, 1, 0][..], &[0; 16]].concat();
        replace(&ns.path("leak"), ".dynsym", &symbol.repeat(50_000));
        replace(&ns.path("leak"), ".dynstr", &[b"\0".to_vec(), vec![b'a'; 4 << 20]].concat());
        let functions = stack(ns, "./leak");
        assert!(!functions.is_empty());
    });
}

/// Compiles a chain of libraries that call each other, and a program that creates this many segments through it.
fn chain(ns: &Namespace, libraries: usize, segments: usize) {
    let compile = |name: &str, source: &str, options: &[&str]| {
        let source = ns.file(&format!("{name}.c"), source);
        let directory = source.parent().expect("a directory").display();
        let path = format!("-Wl,-rpath,{directory},-rpath-link,{directory}");
        let options = ["-g", "-O1", "-o", name, source.to_str().expect("a path"), &path, "-L."]
            .into_iter()
            .chain(options.iter().copied());
        ns.run("cc", options);
    };
    let mut callee = ("shmget(key, 1, 01600)".to_owned(), None);
    for index in (0..libraries).rev() {
        let (call, library) = &callee;
        let declared =
            if library.is_none() { "#include <sys/shm.h>".into() } else { format!("int f{}(int);", index + 1) };
        let source = format!("{declared}\nint f{index}(int key) {{ return {call} + 1; }}\n");
        let mut options = vec!["-shared", "-fPIC"];
        options.extend(library.as_deref());
        compile(&format!("libf{index}.so"), &source, &options);
        callee = (format!("f{index}(key)"), Some(format!("-lf{index}")));
    }
    let source =
        format!("int f0(int);\nint main(void) {{ for (int key = 1; key <= {segments}; key++) f0(key); return 0; }}\n");
    compile("chain", &source, &["-lf0"]);
}

#[test]
fn many_large_unwind_tables_do_not_hide_the_process() {
    const LIBRARIES: usize = 40;
    in_namespace(|ns| {
        chain(ns, LIBRARIES, 6);
        for index in 0..LIBRARIES {
            enlarge(&ns.path(&format!("libf{index}.so")), &[".eh_frame"], 30 << 20);
        }
        // The time for a stack does not suffice for all of these files. On a busy machine some calls have no result.
        let report = guarded(ns, "./chain");
        let leaked = report["leaked"].as_array().expect("an array");
        assert_eq!(leaked.len(), 6);
        assert!(leaked.iter().any(|leak| functions(leak).iter().any(|name| name == "f39")), "{report}");
    });
}
