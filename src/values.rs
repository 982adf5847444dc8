//! Keys, modes, sizes, durations and the words that name a segment: their grammar, and how they are shown.

mod count;
mod key;
mod mode;
mod object_kind;
mod path;
mod period;
mod segment_ref;
mod shell_word;
mod shm_id;
mod size;
mod unknown_id;
mod visible;

pub(crate) use count::counted;
pub use key::Key;
pub(crate) use key::{ParseKeyError, c_integer};
pub use mode::Mode;
pub(crate) use object_kind::ObjectKind;
pub(crate) use path::{unescaped_path, visible_path};
pub(crate) use period::ParsePeriodError;
pub use period::Period;
pub(crate) use segment_ref::ParseSegmentRefError;
pub use segment_ref::{ProjectId, SegmentRef};
pub(crate) use shell_word::shell_word;
pub use shm_id::ShmId;
pub use size::Size;
pub(crate) use size::{human, human_bytes};
pub(crate) use unknown_id::{UNKNOWN_ID, known_id};
pub(crate) use visible::escape;
pub use visible::visible;
