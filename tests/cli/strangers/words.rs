//! Words of the command line that a script passes on from another user.

use crate::support::{in_namespace, on_terminal};

/// Shell command lines that all fail. `$W` is the other user's word.
const LINES: &[&str] = &[
    r#"remove "$W""#,
    r#"read "$W""#,
    r#""$W""#,
    r#"list "$W""#,
    r#"list "--$W""#,
    r#"list "-$W""#,
    r#"list -o "$W""#,
    r#"list --sort "--$W""#,
    r#"list --key "$W""#,
    r#"list --older-than "1$W""#,
    r#"list --owner "$W""#,
    r#"list --format="$W""#,
    r#"create 1 --size "$W""#,
    r#"create 1 --size 1 --mode "$W""#,
    r#"create "ftok:$W:/""#,
    r#"stat id:"$W""#,
    r#"--ns "$W" list"#,
    r#"--ns="$W" list"#,
    r#"write 1 --fill "$W""#,
    r#"write 1 --at "$W""#,
    r#"guard "$W""#,
    r#"guard -- "$W""#,
    r#"read 1 -o "/$W/$W""#,
    r#"ftok --find "$W" /"#,
    r#"ftok "$W""#,
    r#"completions "$W""#,
    r#"limits --check "$W""#,
    r#"help "$W""#,
    r#"metrics "$W""#,
];

/// Removes shmadm's own colour sequences.
fn uncolored(text: &str) -> String {
    let mut parts = text.split("\x1b[");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |plain, part| {
        match part.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';').strip_prefix('m') {
            Some(rest) => plain + rest,
            None => plain + "\x1b[" + part,
        }
    })
}

#[test]
fn a_foreign_word_is_repeated_in_visible_characters() {
    in_namespace(|ns| {
        let set = r"W=$(printf '\033]0;pwned\a\r\n\tq\377\342\200\256\033[2J')";
        for line in LINES {
            let out = on_terminal(ns, "cols 80", &format!("{set}; $SHMADM {line} || echo it was $?"));
            assert!(out.contains("it was "), "{line}: {out:?}");
            let plain = uncolored(&out);
            assert!(plain.chars().all(|c| c == '\n' || !c.is_control() && c != '\u{202e}'), "{line}: {out:?}");
        }
        // The error repeats the word. Bytes that are no text are escaped.
        let shown = r"\x1b]0;pwned\x07\x0d\x0a\x09q\xff\xe2\x80\xae\x1b[2J";
        for line in ["remove \"$W\"", "create 1 --from \"$W\"", "list --not-in \"$W\"", "metrics -o \"/$W/x\""] {
            let out = on_terminal(ns, "cols 80", &format!("{set}; $SHMADM {line} || :"));
            assert!(uncolored(&out).contains(shown), "{line}: {out:?}");
        }
    });
}
