//! The common properties of all three kinds of System V IPC objects.

use std::io;

use crate::sysv::{self, MessageQueue, Segment, SemaphoreSet};
use crate::values::{Key, ObjectKind};

/// A segment, a semaphore set or a message queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Object {
    pub kind: ObjectKind,
    pub id: i32,
    /// Its key; [`Key::PRIVATE`] if it has none, or is marked for destruction.
    pub key: Key,
    /// Bytes of a segment, or number of semaphores of a set; 0 for a queue.
    pub size: u64,
    /// The creating process. The kernel shows it only for segments; 0 if it is not visible in our pid namespace.
    pub cpid: Option<i32>,
    /// The user and group that created it.
    pub creator: (u32, u32),
    /// Whether it waits for its last detach.
    pub is_marked: bool,
}

impl Object {
    /// Returns whether `later` is still this object, judged by all properties that never change.
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

/// Returns all objects of a kind in our IPC namespace.
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

/// Returns the object with this identifier or its successor in the same place; `None` if there is none.
///
/// # Errors
/// Those of reading the kernel's table, which is read if the kernel does not answer about one object.
pub(crate) fn find(kind: ObjectKind, id: i32) -> io::Result<Option<Object>> {
    match at(kind, id) {
        Some(object) => Ok(Some(object)),
        None => Ok(all(kind)?.into_iter().find(|object| object.id == id)),
    }
}

/// Returns the object with this index, which is the low bits of its identifier.
pub(crate) fn at(kind: ObjectKind, index: i32) -> Option<Object> {
    match kind {
        ObjectKind::Segment => sysv::segment_at(index).ok().map(|segment| Object::from(&segment)),
        ObjectKind::Semaphores => sysv::semaphore_set_at(index).ok().map(|set| Object::from(&set)),
        ObjectKind::Queue => sysv::queue_at(index).ok().map(|queue| Object::from(&queue)),
    }
}
