//! Removing the objects that were left behind.

use std::fmt;
use std::io;

use nix::errno::Errno;

use super::{Leak, Leaks};
use crate::error::Error;
use crate::segments::cache::Lookups;
use crate::segments::filter::Selection;
use crate::segments::objects::{self, Object};
use crate::segments::remove::{self, Choice, Outcome};
use crate::sysv;
use crate::values::{Key, ObjectKind};

/// Why an object is not removed that may have another creator.
const UNCERTAIN: &str = "it may belong to another program; without tracing, its creator is not known";

/// The result for an object that was left behind, as a line for people.
pub(crate) struct Removed {
    /// The line.
    pub line: String,
    /// Whether the object is gone, or will be destroyed by its last detach.
    pub is_removed: bool,
}

impl Leaks {
    /// Removes everything that was left behind. In a shared namespace, this skips attached objects and those that may
    /// belong to another program. Returns the result for each object.
    pub(crate) fn remove(&self, is_shared: bool, lookups: &Lookups) -> Vec<Removed> {
        let mut removed = Vec::with_capacity(self.len());
        for Leak { object: segment, is_certain, .. } in &self.segments {
            let left = |why: &str| {
                let name = Name(ObjectKind::Segment, segment.key, segment.id.as_raw());
                Removed { line: format!("left {name}: {why}"), is_removed: false }
            };
            if is_shared && segment.nattch > 0 {
                removed.push(left("it is attached"));
                continue;
            }
            if !is_certain {
                removed.push(left(UNCERTAIN));
                continue;
            }
            let every = Selection::default();
            let removal = remove::remove(segment, Choice::filtered(&every, is_shared), lookups);
            removed.push(Removed {
                line: removal.error.as_deref().map_or_else(|| removal.to_string(), Error::to_string),
                is_removed: matches!(removal.outcome, Outcome::Removed | Outcome::Marked),
            });
        }
        for Leak { object: set, is_certain, .. } in &self.semaphores {
            removed.push(remove_other(&Object::from(set), *is_certain, objects::find, sysv::remove_semaphore_set));
        }
        for Leak { object: queue, is_certain, .. } in &self.queues {
            removed.push(remove_other(&Object::from(queue), *is_certain, objects::find, sysv::remove_queue));
        }
        removed
    }
}

/// Removes a semaphore set or a queue, if it is still the same one.
fn remove_other(
    object: &Object,
    is_certain: bool,
    find: impl Fn(ObjectKind, i32) -> io::Result<Option<Object>>,
    remove: impl Fn(i32) -> Result<(), Errno>,
) -> Removed {
    let name = Name(object.kind, object.key, object.id);
    let left = |why: &str| Removed { line: format!("left {name}: {why}"), is_removed: false };
    if !is_certain {
        return left(UNCERTAIN);
    }
    match find(object.kind, object.id) {
        Ok(Some(now)) if !now.is_same_as(object) || now.key != object.key => {
            return left("it changed since the command ended");
        }
        Ok(_) => {}
        Err(error) => return left(&format!("cannot check that it is still the same: {error}")),
    }
    match remove(object.id) {
        // It is fine if another process has already removed it.
        Ok(()) | Err(Errno::EINVAL | Errno::EIDRM) => Removed { line: format!("removed {name}"), is_removed: true },
        Err(errno) => {
            let error = Error::io(format_args!("remove {name}"), &errno.into());
            Removed { line: error.to_string(), is_removed: false }
        }
    }
}

/// The name of an object in messages.
struct Name(ObjectKind, Key, i32);

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Name(kind, key, id) = self;
        write!(f, "{kind} {key} (id {id})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_removed_only_if_it_is_certainly_the_same() {
        let object = Object {
            kind: ObjectKind::Semaphores,
            id: 7,
            key: Key::PRIVATE,
            size: 3,
            cpid: None,
            creator: (1, 1),
            is_marked: false,
        };
        let other = Object { size: 4, ..object.clone() };
        let of = |found: io::Result<Option<Object>>| {
            let removed = remove_other(
                &object,
                true,
                |_, _| found.as_ref().cloned().map_err(|error| error.kind().into()),
                |_| Ok(()),
            );
            removed.is_removed
        };
        assert_eq!([of(Ok(Some(object.clone()))), of(Ok(None))], [true, true]);
        assert_eq!([of(Ok(Some(other))), of(Err(io::ErrorKind::PermissionDenied.into()))], [false, false]);
    }
}
