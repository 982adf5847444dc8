//! Annotations of GitHub Actions workflow runs, which appear at the line of the source file.

use std::env;
use std::path::Path;

use super::LeakedObjects;
use super::lines::details;
use super::report::LeakSummary;

/// Returns one workflow command for each object.
pub(crate) fn annotations(objects: &LeakedObjects) -> Vec<String> {
    let workspace = env::var_os("GITHUB_WORKSPACE");
    let relative = |path: &str| {
        let below = workspace.as_ref().and_then(|workspace| Path::new(path).strip_prefix(workspace).ok());
        below.and_then(Path::to_str).unwrap_or(path).to_owned()
    };
    let annotation = |leak: LeakSummary<'_>| {
        let place = leak
            .created_by
            .and_then(|by| by.place())
            .map_or(String::new(), |(_, path, line)| format!("file={},line={line},", property(&relative(path))));
        let mut message = format!("the command left behind {}", leak.line);
        for line in leak.created_by.map(details).unwrap_or_default() {
            message.push('\n');
            message.push_str(&line);
        }
        format!("::error {place}title={}::{}", property("System V IPC leak"), data(&message))
    };
    objects.each().map(annotation).collect()
}

/// Escapes the message of a workflow command (actions/toolkit, packages/core/src/command.ts).
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// Escapes a property of a workflow command.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_and_messages_are_escaped() {
        assert_eq!(property("a,b:c%\n::error"), "a%2Cb%3Ac%25%0A%3A%3Aerror");
        assert_eq!(data("100% of\r\n::stop"), "100%25 of%0D%0A::stop");
    }
}
