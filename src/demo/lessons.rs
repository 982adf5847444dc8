//! The lessons: one file each, with a `mod` line and a row here.

mod crash;
mod fork;
mod leak;
mod lifecycle;
mod permissions;
mod private;
mod race;
mod readonly;
mod resize;

use super::lesson::Lesson;

/// The lessons, in the order of `--list`. The first one is the default.
pub(crate) const LESSONS: &[&Lesson] = &[
    &lifecycle::LESSON,
    &fork::LESSON,
    &crash::LESSON,
    &leak::LESSON,
    &race::LESSON,
    &resize::LESSON,
    &readonly::LESSON,
    &permissions::LESSON,
    &private::LESSON,
];
