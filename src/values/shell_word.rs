//! Words in the notation of a shell.

/// Returns a word for a shell, in single quotes if it is empty or has special characters.
pub(crate) fn shell_word(word: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+:@=%,".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.into()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_words_with_special_characters_are_quoted() {
        for (word, shown) in [
            ("/proc/1/ns/ipc", "/proc/1/ns/ipc"),
            ("a b", "'a b'"),
            ("it's", r"'it'\''s'"),
            ("", "''"),
            ("a[1]", "'a[1]'"),
        ] {
            assert_eq!(shell_word(word), shown);
        }
    }
}
