//! The rules of ARCHITECTURE.md that the compiler does not check: the direction of imports, the modules that may use
//! `unsafe` and clap, and the length of files.

use std::fs;
use std::path::Path;

use regex::Regex;

/// The rooms from top to bottom. A room may import only from the rooms below it.
const ROOMS: [&str; 10] =
    ["commands", "demo", "contents", "output", "segments", "system", "error", "sysv", "linux", "values"];

/// Returns the files of src, by their paths in it, and their text.
fn sources() -> Vec<(String, String)> {
    rust_files("src")
}

/// Returns the Rust files of a directory, by their paths in it, and their text.
fn rust_files(directory: &str) -> Vec<(String, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
    let files = walkdir::WalkDir::new(&src).into_iter().map(|file| file.expect("src").into_path());
    let rust = files.filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    let read = |path: std::path::PathBuf| {
        let name = path.strip_prefix(&src).expect("below src").to_string_lossy().into_owned();
        (name, fs::read_to_string(&path).expect("a source"))
    };
    rust.map(read).collect()
}

/// Returns the index of the room of a file; `None` for main.rs and lib.rs.
fn room_of(file: &str) -> Option<usize> {
    ROOMS.iter().position(|room| file.split(['/', '.']).next() == Some(room))
}

#[test]
fn imports_point_down() {
    let import = Regex::new(r"\bcrate::(\w+)").expect("a pattern");
    let mut found = Vec::new();
    for (file, text) in sources() {
        let Some(room) = room_of(&file) else { continue };
        for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
            let imported = import.captures_iter(line).map(|captures| captures[1].to_owned());
            let above =
                imported.filter(|name| ROOMS.iter().position(|other| other == name).is_some_and(|it| it < room));
            found.extend(above.map(|name| format!("{file} imports {name}")));
        }
    }
    found.sort();
    found.dedup();
    assert_eq!(found, [""; 0], "imports that point up");
}

#[test]
fn unsafe_and_clap_are_only_in_their_rooms() {
    let word = Regex::new(r"\bunsafe\b|\bclap(?:_complete)?::").expect("a pattern");
    let mut found = Vec::new();
    for (file, text) in sources() {
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            let Some(word) = word.find(code) else { continue };
            let rooms: &[&str] = if word.as_str() == "unsafe" { &["sysv", "linux"] } else { &["commands"] };
            if !room_of(&file).is_some_and(|room| rooms.contains(&ROOMS[room])) {
                found.push(format!("{file}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    assert_eq!(found, [""; 0], "`unsafe` or clap outside their rooms");
}

#[test]
fn a_file_has_one_subject() {
    let long: Vec<_> =
        sources().into_iter().chain(rust_files("tests")).filter(|(_, text)| text.lines().count() > 400).collect();
    let long: Vec<_> = long.iter().map(|(file, _)| file.as_str()).collect();
    assert_eq!(long, [""; 0], "more than 400 lines");
}

#[test]
fn paths_are_shown_by_visible_path() {
    // Path::display() keeps control characters and characters that nobody sees.
    let shown = sources().into_iter().filter(|(_, text)| text.contains(".display()"));
    let files: Vec<String> = shown.map(|(file, _)| file).collect();
    assert_eq!(files, [""; 0], "paths that are not escaped");
}

#[test]
fn tests_run_the_program_through_shmadm_path() {
    let built = concat!("CARGO_BIN_EXE", "_shmadm");
    let direct: Vec<_> = rust_files("tests").into_iter().filter(|(_, text)| text.contains(built)).collect();
    let direct: Vec<_> = direct.iter().map(|(file, _)| file.as_str()).collect();
    assert_eq!(direct, ["cli/support/path.rs"], "use shmadm_path() of tests/cli/support");
}

#[test]
fn the_files_in_architecture_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let path = Regex::new(r"`([a-z_]+(?:/[a-z_]+)*(?:\.rs|/))`").expect("a pattern");
    let named: Vec<_> = path.captures_iter(&text).map(|captures| captures[1].to_owned()).collect();
    assert!(named.len() > 30, "{named:?}");
    let missing: Vec<_> =
        named.iter().filter(|name| !root.join(name).exists() && !root.join("src").join(name).exists()).collect();
    assert_eq!(missing, [""; 0]);
}
