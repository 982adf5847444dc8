//! Key, Mode, Size, Period and the words that name a segment: grammar and display.

pub mod key;
pub mod mode;
pub mod period;
pub mod segment_ref;
pub mod size;
pub mod visible;
