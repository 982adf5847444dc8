//! Names of functions as in the source: demangled Rust and C++ names of bounded length.

use std::fmt::{self, Write};

use crate::values::visible;

/// The longest symbol that is demangled, in bytes. C++ template names can expand to a multiple of their length.
pub(super) const MAX_SYMBOL_BYTES: usize = 4096;
/// The longest name that is shown, in bytes.
const MAX_NAME_BYTES: usize = 1024;

/// Returns a symbol's readable name. A symbol that cannot be demangled is returned unchanged.
pub(super) fn demangled(symbol: &[u8]) -> String {
    let name = str::from_utf8(symbol).ok().filter(|name| name.len() <= MAX_SYMBOL_BYTES).and_then(demangle);
    let name = name.unwrap_or_else(|| visible(&symbol[..symbol.len().min(MAX_NAME_BYTES)]).into_owned());
    visible(name.as_bytes()).into_owned()
}

fn demangle(symbol: &str) -> Option<String> {
    let mut name = Bounded(String::new());
    if let Ok(rust) = rustc_demangle::try_demangle(symbol) {
        // Without the hash that distinguishes instances of a crate.
        write!(name, "{rust:#}").ok()?;
    } else if symbol.starts_with("_Z") {
        let parsed = cpp_demangle::Symbol::new(symbol).ok()?;
        write!(name, "{}", parsed.demangle().ok()?).ok()?;
    } else {
        return None;
    }
    Some(name.0)
}

/// A string whose `write_str` fails once it would become too long.
struct Bounded(String);

impl Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.0.len() + text.len() > MAX_NAME_BYTES {
            return Err(fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::demangled;

    #[test]
    fn symbols_are_demangled() {
        for (symbol, name) in [
            (&b"create_pool"[..], "create_pool"),
            (b"_ZN4pool6createEi", "pool::create(int)"),
            (b"_ZN4case11create_pool17h0123456789abcdefE", "case::create_pool"),
            (b"_RNvCs1234_7mycrate3foo", "mycrate::foo"),
            (b"_Znonsense", "_Znonsense"),
            (b"evil\x1b[31m\xff", "evil\\x1b[31m\\xff"),
            (b"", ""),
        ] {
            assert_eq!(demangled(symbol), name, "{symbol:?}");
        }
    }

    #[test]
    fn demangled_names_have_a_maximum_length() {
        // Each substitution doubles the name before it.
        let mut bomb = "_Z1fI".to_owned();
        bomb.push_str(&"St4pairIS_S_E".repeat(300));
        assert!(demangled(bomb.as_bytes()).len() <= 4 * super::MAX_NAME_BYTES);
    }
}
