//! A picture of segments between the address spaces of two processes.

use std::fmt::Write;

use anstyle::{AnsiColor, Style};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::charset::Charset;
use crate::sysv::{Access, Segment};
use crate::values::counted;

/// Columns inside a box; three boxes and their connections are 78 columns wide.
const INSIDE: usize = 20;
/// Columns between two boxes.
const BETWEEN: usize = 6;
/// Rows of a picture with one segment or none.
const ROWS: usize = 8;

const MARKED: Style = AnsiColor::Red.on_default();

/// A process in the picture.
#[derive(Debug, Clone)]
pub(crate) struct Space {
    /// Its name in the text.
    pub name: char,
    /// Its pid.
    pub pid: u32,
    /// The colour of its name.
    pub style: Style,
    /// Its attachments: the index of the segment in the picture, address and access.
    pub attached: Vec<(usize, usize, Access)>,
    /// How it ended, if it has.
    pub ended: Option<String>,
}

/// Two processes at most, and the segments that exist.
#[derive(Debug, Clone)]
pub(crate) struct Picture<'a> {
    /// The process on the left.
    pub left: Option<Space>,
    /// The process on the right.
    pub right: Option<Space>,
    /// The segments, as read from the kernel's table, each with its contents.
    pub segments: Vec<(&'a Segment, &'a str)>,
    /// Whether the process on the left has forked the one on the right.
    pub is_fork: bool,
}

/// Which side of the segments a process is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Left,
    Right,
}

/// The box of the segments, and the row of each segment where attachments end.
struct Middle {
    rows: Vec<(String, Style)>,
    links: Vec<usize>,
}

impl Picture<'_> {
    /// Returns the lines, at most 78 columns wide.
    pub(crate) fn lines(&self, color: bool, charset: Charset) -> Vec<String> {
        let middle = self.middle();
        let left = space(self.left.as_ref(), &middle, Side::Left);
        let right = space(self.right.as_ref(), &middle, Side::Right);
        let paint = |text: &str, style: Style| {
            let text = charset.draw(text);
            if color && style != Style::new() { format!("{style}{text}{style:#}") } else { text }
        };
        let title_style = |space: &Option<Space>, row| match space {
            Some(space) if row == 0 => space.style,
            _ => Style::new(),
        };
        let mut lines = Vec::with_capacity(middle.rows.len() + 1);
        for (row, (text, style)) in middle.rows.iter().enumerate() {
            let joint = |space| if is_linked(space, &middle, row) { "─" } else { " " }.repeat(BETWEEN);
            let mut line = paint(&left[row], title_style(&self.left, row));
            line.push_str(&paint(&joint(&self.left), Style::new()));
            line.push_str(&paint(text, *style));
            line.push_str(&paint(&joint(&self.right), Style::new()));
            line.push_str(&paint(&right[row], title_style(&self.right, row)));
            lines.push(line);
        }
        if self.is_fork {
            lines.push(charset.draw(&fork()));
        }
        lines
    }

    fn middle(&self) -> Middle {
        let mut rows = Vec::new();
        let mut links = Vec::new();
        for (index, (segment, text)) in self.segments.iter().enumerate() {
            let style = if segment.is_marked() { MARKED } else { Style::new() };
            let (first, last) = if index == 0 { ('┌', '┐') } else { ('├', '┤') };
            let status = if segment.is_marked() { "dest" } else { "" };
            let others = self.others(index, segment);
            rows.push((edge(first, "─ segment ", last), style));
            let facts = match self.segments.len() {
                1 => vec![
                    format!(" key    {}", segment.key),
                    format!(" id     {}", segment.id),
                    format!(" nattch {}{others}", segment.nattch),
                    format!(" status {status}"),
                ],
                _ => vec![
                    format!(" key {} {status}", segment.key),
                    // There is no room for the others.
                    format!(" id {}, nattch {}", segment.id, segment.nattch),
                ],
            };
            rows.extend(facts.into_iter().map(|fact| (inside('│', &fact, '│'), style)));
            if self.segments.len() == 1 {
                rows.push((edge('├', &format!("─ {} ", counted(segment.size, "byte")), '┤'), style));
            }
            let joint = |space: &Option<Space>, joint| if is_attached(space, index) { joint } else { '│' };
            links.push(rows.len());
            rows.push((inside(joint(&self.left, '┤'), &format!(" {text}"), joint(&self.right, '├')), style));
        }
        if self.segments.is_empty() {
            rows = vec![(" ".repeat(INSIDE + 2), Style::new()); ROWS];
            rows[3].0 = format!("{:^1$}", "no segment", INSIDE + 2);
        } else {
            let style = rows.last().map_or(Style::new(), |(_, style)| *style);
            rows.push((edge('└', "", '┘'), style));
        }
        Middle { rows, links }
    }

    /// Returns how many attachments are not those of the two processes.
    fn others(&self, index: usize, segment: &Segment) -> String {
        let ours = [&self.left, &self.right].into_iter().filter(|space| is_attached(space, index)).count() as u64;
        match segment.nattch.saturating_sub(ours) {
            0 => String::new(),
            1 => " (1 other)".into(),
            others => format!(" ({others} others)"),
        }
    }
}

fn is_attached(space: &Option<Space>, segment: usize) -> bool {
    space.iter().flat_map(|space| &space.attached).any(|(index, ..)| *index == segment)
}

fn is_linked(space: &Option<Space>, middle: &Middle, row: usize) -> bool {
    middle.links.iter().position(|link| *link == row).is_some_and(|segment| is_attached(space, segment))
}

/// Returns a process's box, with each attachment in the row that links it to the segment. Where there is no process,
/// the rows are blank.
fn space(space: Option<&Space>, middle: &Middle, side: Side) -> Vec<String> {
    let rows = middle.rows.len();
    let Some(space) = space else { return vec![" ".repeat(INSIDE + 2); rows] };
    let mut lines = vec![inside('│', "", '│'); rows];
    lines[0] = edge('┌', &format!(" process {}, {} ", space.name, space.pid), '┐');
    lines[rows - 1] = edge('└', "", '┘');
    if let Some(ended) = &space.ended {
        lines[2] = inside('│', &format!(" {ended}"), '│');
    }
    for (segment, address, access) in &space.attached {
        let access = if *access == Access::Read { "ro" } else { "rw" };
        let width = INSIDE - 3;
        let address = format!("{:<width$}", format!("{access} {address:#x}"));
        lines[middle.links[*segment]] = match side {
            Side::Left => format!("│ {address} ─┼"),
            Side::Right => format!("┼─ {address} │"),
        };
    }
    lines
}

/// Returns the line below the boxes that leads from the left process to its child on the right.
fn fork() -> String {
    let half = INSIDE / 2;
    let title = " fork ";
    let between = 2 * BETWEEN + 2 * (INSIDE + 2) - 1 - title.len();
    let line = "─".repeat(between / 2);
    format!("{}└{line}{title}{line}{}▲", " ".repeat(half), "─".repeat(between % 2))
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

    fn segment(key: i32, id: i32, mode: &str, nattch: u64) -> Segment {
        let row = format!("key\n{key} {id} {mode} 4096 1 2 {nattch} 0 0 0 0 0 0 0 4096 0\n");
        Segments::new(row.as_bytes()).unwrap().next().unwrap().unwrap()
    }

    fn space(name: char, pid: u32, attached: &[(usize, usize, Access)]) -> Option<Space> {
        let style = AnsiColor::Cyan.on_default();
        Some(Space { name, pid, style, attached: attached.to_vec(), ended: None })
    }

    fn drawn(picture: &Picture<'_>) -> String {
        picture.lines(false, Charset::Unicode).iter().map(|line| line.trim_end()).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn both_attached() {
        let segment = segment(42, 5, "600", 3);
        let picture = Picture {
            left: space('A', 21440, &[(0, 0x7f5f_9a6c_3000, Access::ReadWrite)]),
            right: space('B', 4_194_304, &[(0, 0x1000, Access::Read)]),
            segments: vec![(&segment, "hello from A, and more than fits")],
            is_fork: true,
        };
        let expected = "\
┌ process A, 21440 ──┐      ┌─ segment ──────────┐      ┌ process B, 4194304 ┐
│                    │      │ key    0x0000002a  │      │                    │
│                    │      │ id     5           │      │                    │
│                    │      │ nattch 3 (1 other) │      │                    │
│                    │      │ status             │      │                    │
│                    │      ├─ 4096 bytes ───────┤      │                    │
│ rw 0x7f5f9a6c3000 ─┼──────┤ hello from A, and m├──────┼─ ro 0x1000         │
└────────────────────┘      └────────────────────┘      └────────────────────┘
          └──────────────────────── fork ─────────────────────────▲";
        assert_eq!(drawn(&picture), expected);
        let colored = picture.lines(true, Charset::Unicode);
        assert!(colored[0].contains("\x1b["), "{colored:?}");
        let ascii = picture.lines(false, Charset::Ascii).join("\n");
        assert!(ascii.is_ascii() && ascii.contains("| rw 0x7f5f9a6c3000 -+------+ hello"), "{ascii}");
    }

    #[test]
    fn a_marked_segment_and_none() {
        let segment = segment(0, 5, "1600", 1);
        let marked = Picture {
            left: space('A', 1, &[]),
            right: space('B', 2, &[(0, 0x7f5f_9a6c_3000, Access::Read)]),
            segments: vec![(&segment, "é漢")],
            is_fork: false,
        };
        let lines = marked.lines(false, Charset::Unicode);
        assert_eq!(lines[1], format!("│{0:20}│{0:6}│ key    0x00000000  │{0:6}│{0:20}│", ""));
        assert_eq!(lines[4], format!("│{0:20}│{0:6}│ status dest        │{0:6}│{0:20}│", ""));
        assert_eq!(lines[6], format!("│{0:20}│{0:6}│ é漢{0:16}├──────┼─ ro 0x7f5f9a6c3000 │", ""));
        let none = Picture { segments: vec![], right: space('B', 2, &[]), ..marked.clone() };
        let empty = none.lines(false, Charset::Unicode);
        assert_eq!(empty[3], format!("│{0:20}│{0:6}      no segment      {0:6}│{0:20}│", ""));
        for line in empty.iter().chain(&lines) {
            assert_eq!(line.width(), 78, "{line}");
        }
    }

    #[test]
    fn two_segments_and_a_process_that_has_ended() {
        let (first, second) = (segment(0, 0, "600", 2), segment(0, 1, "600", 1));
        let mut left = space('A', 21440, &[]);
        left.as_mut().unwrap().ended = Some("killed by SIGKILL".into());
        let picture = Picture {
            left,
            right: space('B', 21441, &[(0, 0x1000, Access::Read), (1, 0x2000, Access::ReadWrite)]),
            segments: vec![(&first, "one"), (&second, "two")],
            is_fork: false,
        };
        let expected = "\
┌ process A, 21440 ──┐      ┌─ segment ──────────┐      ┌ process B, 21441 ──┐
│                    │      │ key 0x00000000     │      │                    │
│ killed by SIGKILL  │      │ id 0, nattch 2     │      │                    │
│                    │      │ one                ├──────┼─ ro 0x1000         │
│                    │      ├─ segment ──────────┤      │                    │
│                    │      │ key 0x00000000     │      │                    │
│                    │      │ id 1, nattch 1     │      │                    │
│                    │      │ two                ├──────┼─ rw 0x2000         │
└────────────────────┘      └────────────────────┘      └────────────────────┘";
        assert_eq!(drawn(&picture), expected);
        let alone = Picture { right: None, ..picture.clone() };
        assert!(drawn(&alone).lines().all(|line| line.width() <= 50), "{}", drawn(&alone));
    }
}
