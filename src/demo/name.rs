//! The names of the processes and segments of a lesson.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A process of a lesson, by its letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Role(pub char);

/// A segment of a lesson, by its number in it: [`S`] is the first one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Label(pub u8);

pub(super) const A: Role = Role('A');
pub(super) const B: Role = Role('B');
pub(super) const C: Role = Role('C');
pub(super) const S: Label = Label(0);
pub(super) const T: Label = Label(1);

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
