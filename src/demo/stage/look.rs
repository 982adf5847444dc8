//! Looking at processes and segments, which is not a part of a lesson: rows, contents, and calls as they are shown.

use super::{LessonSegment, Stage};
use crate::demo::Stop;
use crate::demo::cast::Cast;
use crate::demo::lesson::Contents;
use crate::demo::name::{Label, Role};
use crate::demo::request::{Outcome, Request};
use crate::error::Result;
use crate::output::note_raw;
use crate::segments::lookup;
use crate::sysv::{self, Segment};

impl Stage {
    /// Returns the segments that exist, as the kernel's table shows them, with what they contain.
    pub(in crate::demo) fn rows(&mut self) -> Result<Vec<(Label, Segment, String)>, Stop> {
        self.read_contents()?;
        let mut rows = Vec::new();
        for row in lookup::rows()? {
            let row = row?;
            let ours = |segment: &&LessonSegment| {
                (segment.known.id, segment.known.creator) == (Some(row.id.as_raw()), row.cpid)
            };
            if let Some(segment) = self.segments.iter().find(ours) {
                rows.push((segment.known.label, row, segment.text.clone()));
            }
        }
        rows.sort_by_key(|(label, ..)| *label);
        Ok(rows)
    }

    /// Lets an attached process read each segment that has been written to.
    pub(super) fn read_contents(&mut self) -> Result<(), Stop> {
        let is_number = self.contents == Contents::Number;
        for label in self.segments.iter().map(|segment| segment.known.label).collect::<Vec<_>>() {
            let reader = self.attached.iter().find(|attached| attached.label == label).map(|attached| attached.role);
            let is_written = self.segment_mut(label).is_some_and(|segment| segment.is_written);
            if let Some(role) = reader.filter(|_| is_written)
                && let Outcome::Text(text) = self.silently(role, &Request::Read { label, is_number })?
                && let Some(segment) = self.segment_mut(label)
            {
                segment.text = text;
            }
        }
        Ok(())
    }

    /// Asks for something that is not a part of the lesson.
    pub(super) fn silently(&mut self, role: Role, request: &Request) -> Result<Outcome, Stop> {
        self.cast.ask(role, request)?;
        let answer = self.cast.answer(role, &self.shutdown)?;
        self.trace(role, &answer.calls);
        answer.result.map_err(|refusal| Cast::cannot(role, &refusal).into())
    }

    pub(super) fn show_calls(&mut self, role: Role, calls: Vec<(String, bool)>) {
        self.trace(role, &calls);
        let of_the_lesson = calls.into_iter().filter(|(_, is_look)| !is_look);
        self.shown.extend(of_the_lesson.map(|(call, _)| (Some(role), call)));
    }

    /// Prints calls if `--trace` is given: those of the lesson with the letter of their process, others with a dash.
    pub(super) fn trace(&self, role: Role, calls: &[(String, bool)]) {
        if !sysv::is_traced() {
            return;
        }
        for (call, is_look) in calls {
            let mark = if *is_look { '-' } else { role.0 };
            note_raw(&format!("{mark} [pid {}] {call}", self.pid(role)));
        }
    }
}
