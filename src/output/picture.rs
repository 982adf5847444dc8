//! A picture of a segment between two address spaces, in box-drawing characters.

use std::fmt::Write;

use anstyle::{AnsiColor, Style};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::sysv::{Access, Segment};
use crate::values::counted;

/// Columns inside a box; three boxes and their connections are 78 columns wide.
const INSIDE: usize = 20;
/// Columns between two boxes.
const BETWEEN: usize = 6;

const MARKED: Style = AnsiColor::Red.on_default();

/// A process in the picture.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Space {
    /// Its name in the text.
    pub name: char,
    /// Its pid.
    pub pid: u32,
    /// The colour of its name.
    pub style: Style,
    /// The address and access of its attachment, if any.
    pub attached: Option<(usize, Access)>,
}

/// Two processes, and the segment if it exists.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Picture<'a> {
    /// The process on the left.
    pub left: Space,
    /// The process on the right.
    pub right: Space,
    /// The segment, as read from the kernel's table.
    pub segment: Option<&'a Segment>,
    /// The contents of the segment.
    pub text: &'a str,
}

impl Picture<'_> {
    /// Returns the lines, at most 78 columns wide.
    pub(crate) fn lines(&self, color: bool) -> Vec<String> {
        let middle = self.middle();
        let rows = middle.len();
        let link = rows - 2;
        let left = space(&self.left, rows, link, |address| format!("{address} ─┼"));
        let right = space(&self.right, rows, link, |address| format!("┼─ {address}"));
        let joint = |space: &Space, row| if row == link && space.attached.is_some() { "─" } else { " " };
        let is_marked = self.segment.is_some_and(Segment::is_marked);
        let paint = |text: &str, style: Style| {
            if color && style != Style::new() { format!("{style}{text}{style:#}") } else { text.to_owned() }
        };
        let mut lines = Vec::with_capacity(rows);
        for (row, ((left, middle), right)) in left.iter().zip(&middle).zip(&right).enumerate() {
            let style = |space: &Space| if row == 0 { space.style } else { Style::new() };
            let mut line = paint(left, style(&self.left));
            line.push_str(&joint(&self.left, row).repeat(BETWEEN));
            line.push_str(&paint(middle, if is_marked { MARKED } else { Style::new() }));
            line.push_str(&joint(&self.right, row).repeat(BETWEEN));
            line.push_str(&paint(right, style(&self.right)));
            lines.push(line);
        }
        lines
    }

    /// Returns the segment's box. Its last line but one is the memory itself, where the attachments end.
    fn middle(&self) -> Vec<String> {
        let Some(segment) = self.segment else {
            let mut rows = vec![" ".repeat(INSIDE + 2); 8];
            rows[3] = format!("{:^1$}", "no segment", INSIDE + 2);
            return rows;
        };
        let ours = [self.left, self.right].iter().filter(|space| space.attached.is_some()).count() as u64;
        let others = match segment.nattch.saturating_sub(ours) {
            0 => String::new(),
            1 => " (1 other)".into(),
            others => format!(" ({others} others)"),
        };
        let status = if segment.is_marked() { "dest" } else { "" };
        let (left, right) = (joint_of(&self.left, '┤'), joint_of(&self.right, '├'));
        vec![
            edge('┌', "─ segment ", '┐'),
            inside('│', &format!(" key    {}", segment.key), '│'),
            inside('│', &format!(" id     {}", segment.id), '│'),
            inside('│', &format!(" nattch {}{others}", segment.nattch), '│'),
            inside('│', &format!(" status {status}"), '│'),
            edge('├', &format!("─ {} ", counted(segment.size, "byte")), '┤'),
            inside(left, &format!(" {}", self.text), right),
            edge('└', "", '┘'),
        ]
    }
}

/// Returns a process's box, with an attachment in the row that links it to the segment.
fn space(space: &Space, rows: usize, link: usize, attached: impl Fn(&str) -> String) -> Vec<String> {
    let mut lines = vec![inside('│', "", '│'); rows];
    lines[0] = edge('┌', &format!(" process {}, {} ", space.name, space.pid), '┐');
    lines[rows - 1] = edge('└', "", '┘');
    if let Some((address, access)) = space.attached {
        let access = if access == Access::Read { "ro" } else { "rw" };
        let width = INSIDE - 3;
        let linked = attached(&format!("{:<width$}", format!("{access} {address:#x}")));
        lines[link] = if linked.starts_with('┼') { format!("{linked} │") } else { format!("│ {linked}") };
    }
    lines
}

fn joint_of(space: &Space, joint: char) -> char {
    if space.attached.is_some() { joint } else { '│' }
}

/// Returns a line of a box, cut to its width.
fn inside(left: char, text: &str, right: char) -> String {
    let mut line = String::from(left);
    let mut width = 0;
    for c in text.chars() {
        let more = c.width().unwrap_or(0);
        if width + more > INSIDE {
            break;
        }
        width += more;
        line.push(c);
    }
    // Writing to a String does not fail.
    let _ = write!(line, "{:1$}{right}", "", INSIDE - width);
    line
}

/// Returns an edge of a box, with a title in it.
fn edge(left: char, title: &str, right: char) -> String {
    format!("{left}{title}{}{right}", "─".repeat(INSIDE.saturating_sub(title.width())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sysv::Segments;
    use crate::values::{Key, ShmId};

    fn segment(key: i32, mode: &str, nattch: u64) -> Segment {
        let row = format!("key\n{key} 5 {mode} 4096 1 2 {nattch} 0 0 0 0 0 0 0 4096 0\n");
        Segments::new(row.as_bytes()).unwrap().next().unwrap().unwrap()
    }

    fn space(name: char, pid: u32, attached: Option<(usize, Access)>) -> Space {
        Space { name, pid, style: AnsiColor::Cyan.on_default(), attached }
    }

    #[test]
    fn both_attached() {
        let segment = segment(42, "600", 3);
        assert_eq!((segment.key, Some(segment.id)), (Key::from_raw(42), ShmId::new(5)));
        let picture = Picture {
            left: space('A', 21440, Some((0x7f5f_9a6c_3000, Access::ReadWrite))),
            right: space('B', 4_194_304, Some((0x1000, Access::Read))),
            segment: Some(&segment),
            text: "hello from A, and more than fits",
        };
        let expected = "\
┌ process A, 21440 ──┐      ┌─ segment ──────────┐      ┌ process B, 4194304 ┐
│                    │      │ key    0x0000002a  │      │                    │
│                    │      │ id     5           │      │                    │
│                    │      │ nattch 3 (1 other) │      │                    │
│                    │      │ status             │      │                    │
│                    │      ├─ 4096 bytes ───────┤      │                    │
│ rw 0x7f5f9a6c3000 ─┼──────┤ hello from A, and m├──────┼─ ro 0x1000         │
└────────────────────┘      └────────────────────┘      └────────────────────┘";
        assert_eq!(picture.lines(false).join("\n"), expected);
        assert!(picture.lines(true)[0].contains("\x1b["), "{:?}", picture.lines(true));
    }

    #[test]
    fn a_marked_segment_and_none() {
        let segment = segment(0, "1600", 1);
        let marked = Picture {
            left: space('A', 1, None),
            right: space('B', 2, Some((0x7f5f_9a6c_3000, Access::Read))),
            segment: Some(&segment),
            text: "é漢",
        };
        let lines = marked.lines(false);
        assert_eq!(lines[1], format!("│{0:20}│{0:6}│ key    0x00000000  │{0:6}│{0:20}│", ""));
        assert_eq!(lines[4], format!("│{0:20}│{0:6}│ status dest        │{0:6}│{0:20}│", ""));
        assert_eq!(lines[6], format!("│{0:20}│{0:6}│ é漢{0:16}├──────┼─ ro 0x7f5f9a6c3000 │", ""));
        let none = Picture { segment: None, right: space('B', 2, None), ..marked };
        assert_eq!(none.lines(false)[3], format!("│{0:20}│{0:6}      no segment      {0:6}│{0:20}│", ""));
        for line in none.lines(false).iter().chain(&lines) {
            assert_eq!(line.width(), 78, "{line}");
        }
    }
}
