//! System V IPC objects of all three kinds, as far as they have the same properties.

use std::io;

use crate::sysv::{self, MessageQueue, Segment, SemaphoreSet};
use crate::values::{Key, ObjectKind};

/// A segment, a semaphore set or a message queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Object {
    pub kind: ObjectKind,
    pub id: i32,
    /// Its key; [`Key::PRIVATE`] where it has none, or is marked for destruction.
    pub key: Key,
    /// Bytes of a segment, semaphores of a set; 0 for a queue.
    pub size: u64,
    /// Who created it: the kernel tells it of segments alone; 0 where that process cannot be seen from our pid namespace.
    pub cpid: Option<i32>,
    /// User and group that created it.
    pub creator: (u32, u32),
    /// Whether it waits for its last detach.
    pub is_marked: bool,
}

impl Object {
    /// Whether `later` is this object still, for all that never changes in one.
    pub(crate) fn is_same_as(&self, later: &Object) -> bool {
        let fixed = |object: &Object| (object.kind, object.id, object.size, object.cpid, object.creator);
        fixed(self) == fixed(later)
    }
}

impl From<&Segment> for Object {
    fn from(segment: &Segment) -> Object {
        Object {
            kind: ObjectKind::Segment,
            id: segment.id.as_raw(),
            key: segment.key,
            size: segment.size,
            cpid: Some(segment.cpid).filter(|cpid| *cpid > 0),
            creator: (segment.cuid, segment.cgid),
            is_marked: segment.is_marked(),
        }
    }
}

impl From<&SemaphoreSet> for Object {
    fn from(set: &SemaphoreSet) -> Object {
        Object {
            kind: ObjectKind::Semaphores,
            id: set.id,
            key: set.key,
            size: set.nsems,
            cpid: None,
            creator: (set.cuid, set.cgid),
            is_marked: false,
        }
    }
}

impl From<&MessageQueue> for Object {
    fn from(queue: &MessageQueue) -> Object {
        Object {
            kind: ObjectKind::Queue,
            id: queue.id,
            key: queue.key,
            size: 0,
            cpid: None,
            creator: (queue.cuid, queue.cgid),
            is_marked: false,
        }
    }
}

/// All objects of a kind in our IPC namespace.
///
/// # Errors
/// Those of reading the kernel's table.
pub(crate) fn all(kind: ObjectKind) -> io::Result<Vec<Object>> {
    match kind {
        ObjectKind::Segment => match sysv::stat_all() {
            Some(segments) => Ok(segments.iter().map(Object::from).collect()),
            None => sysv::Segments::open()?.map(|row| row.map(|segment| Object::from(&segment))).collect(),
        },
        ObjectKind::Semaphores => Ok(sysv::semaphore_sets()?.iter().map(Object::from).collect()),
        ObjectKind::Queue => Ok(sysv::message_queues()?.iter().map(Object::from).collect()),
    }
}

/// The object whose index the low bits of this number are.
pub(crate) fn at(kind: ObjectKind, index: i32) -> Option<Object> {
    match kind {
        ObjectKind::Segment => sysv::segment_at(index).ok().map(|segment| Object::from(&segment)),
        ObjectKind::Semaphores => sysv::semaphore_set_at(index).ok().map(|set| Object::from(&set)),
        ObjectKind::Queue => sysv::queue_at(index).ok().map(|queue| Object::from(&queue)),
    }
}
