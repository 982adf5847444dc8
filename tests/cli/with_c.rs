//! The C programs of docs/tour.md, each with shmadm as its counterpart.

use crate::support::{Namespace, ended, in_namespace};

const PAGE: &str = include_str!("../../docs/tour.md");

/// Returns the section "With C programs".
fn section() -> &'static str {
    let (_, section) = PAGE.split_once("\n## With C programs\n").expect("the heading");
    section.split_once("\n## ").map_or(section, |(section, _)| section)
}

/// Returns the C program that the page shows as the file of this name.
fn source(name: &str) -> &'static str {
    let (_, rest) = section().split_once(&format!("`{name}.c`")).expect("its name");
    let (_, block) = rest.split_once("```c\n").expect("a block of C");
    block.split_once("```").expect("its end").0
}

/// Compiles both programs with all warnings as errors, because readers copy them.
fn compile(ns: &Namespace) {
    for name in ["write_shm", "read_shm"] {
        ns.file(&format!("{name}.c"), source(name));
        ns.run("cc", ["-Wall", "-Wextra", "-Werror", "-o", name, &format!("{name}.c")]);
    }
}

#[test]
fn each_half_works_with_the_other() {
    in_namespace(|ns| {
        compile(ns);
        let programs = |name: &str| ns.path(name).display().to_string();
        let (write, read) = (programs("write_shm"), programs("read_shm"));
        for writer in ["C", "shmadm"] {
            for reader in ["C", "shmadm"] {
                // Both use an existing segment and create a missing one.
                for round in ["made", "found"] {
                    let written = match writer {
                        "C" => {
                            ns.run::<&str>(&write, []);
                            "hello from C\n".to_owned()
                        }
                        _ => {
                            let text = format!("hello from {round}");
                            ns.shmadm(["attach-write", "5678", &text, "--create", "4K", "-m", "666", "--zero"]).ok();
                            text + "\n"
                        }
                    };
                    let found = match reader {
                        "C" => ns.run::<&str>(&read, []),
                        _ => ns.shmadm(["read", "5678", "--format", "string"]).ok(),
                    };
                    assert_eq!(found, written, "{writer} to {reader}, {round}");
                    let table = ns.table();
                    assert_eq!((table.len(), table[0].key.as_str()), (1, "5678"));
                    assert_eq!((table[0].mode.as_str(), table[0].size.as_str()), ("666", "4096"), "{writer}");
                }
                ns.shmadm(["remove", "5678"]).ok();
            }
        }
        // The reader creates nothing.
        let none = ended(&mut ns.program(&read));
        assert!(none.code == Some(1) && none.err.contains("shmget"), "{none:?}");
        assert!(ns.table().is_empty());
    });
}
