//! The objects that a command left behind, and their creators.

mod descent;
pub(crate) mod removal;

use std::io;
use std::sync::Arc;

use nix::unistd::geteuid;

use crate::error::{Error, Result};
use crate::segments::cache::Lookups;
use crate::segments::creators::{Creator, Creators};
use crate::segments::lookup;
use crate::segments::objects::Object;
use crate::segments::state::{self, Presence};
use crate::system::tracer::Creation;
use crate::sysv::{self, MessageQueue, Segment, SemaphoreSet};

pub(crate) use descent::{adopt_orphans, is_descendant};

/// The maximum number of semaphores per set whose users are read.
const MAX_SEMAPHORES: i32 = 256;

/// All System V IPC objects of a namespace.
#[derive(Debug, Clone, Default)]
pub(crate) struct Objects {
    pub segments: Vec<Segment>,
    pub semaphores: Vec<SemaphoreSet>,
    pub queues: Vec<MessageQueue>,
}

impl Objects {
    /// Reads the kernel's tables.
    ///
    /// # Errors
    /// Those of reading them. An unreadable table is not treated as empty.
    pub(crate) fn read() -> Result<Objects> {
        let unreadable = |what: &str| {
            let what = what.to_owned();
            move |error: io::Error| Error::io(format_args!("read the {what}"), &error)
        };
        Ok(Objects {
            segments: lookup::rows()?.collect::<Result<_>>()?,
            semaphores: sysv::semaphore_sets().map_err(unreadable("semaphore sets"))?,
            queues: sysv::message_queues().map_err(unreadable("message queues"))?,
        })
    }

    fn has(&self, object: &Object) -> bool {
        let same = |other: Object| other.is_same_as(object);
        self.segments.iter().map(Object::from).any(same)
            || self.semaphores.iter().map(Object::from).any(same)
            || self.queues.iter().map(Object::from).any(same)
    }
}

/// An object that was left behind.
#[derive(Debug, Clone)]
pub(crate) struct Leak<T> {
    pub object: T,
    /// The call that created it, or why that is unknown.
    pub origin: Origin,
    /// Whether the command certainly created it. In a shared namespace nothing else is removed.
    pub is_certain: bool,
}

/// The origin of an object.
#[derive(Debug, Clone)]
pub(crate) enum Origin {
    /// This call of the command created it.
    Call(Arc<Creation>),
    /// One of several calls created it, and they cannot be distinguished.
    OneOfSeveral,
    /// No recorded call can have created it.
    Unseen,
    /// The command could not be traced.
    Untraced,
}

/// Everything that a command left behind.
#[derive(Debug, Default)]
pub(crate) struct Leaks {
    pub segments: Vec<Leak<Segment>>,
    pub semaphores: Vec<Leak<SemaphoreSet>>,
    pub queues: Vec<Leak<MessageQueue>>,
}

/// How leaks are distinguished from other objects.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Scope<'a> {
    /// The command had its own namespace: every object is a leak.
    Private,
    /// Other processes use the namespace too. These objects existed before.
    Shared(&'a Objects),
}

impl Leaks {
    /// Finds the objects that are left after the command has exited. `creators` has its recorded calls, if it was traced.
    ///
    /// In a shared namespace, the leaks of a traced command are the objects that its calls created. Without tracing they
    /// are the user's new objects. Objects that a living process has created or uses are excluded, unless the process is
    /// a descendant of the command.
    ///
    /// # Errors
    /// Those of reading the kernel's tables.
    pub(crate) fn find(scope: Scope<'_>, creators: Option<&Creators>, lookups: &Lookups) -> Result<Leaks> {
        let Objects { segments, semaphores, queues } = Objects::read()?;
        let judge = Judge { scope, creators, lookups };
        Ok(Leaks {
            segments: judge.leaks_among(segments, |segment| Users::Creator(segment)),
            semaphores: judge.leaks_among(semaphores, |set| Users::Semaphores(set)),
            queues: judge.leaks_among(queues, |queue| Users::Queue(queue)),
        })
    }

    /// Returns the number of objects that were left behind.
    pub(crate) fn len(&self) -> usize {
        self.segments.len() + self.semaphores.len() + self.queues.len()
    }

    /// Returns whether nothing was left behind.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the origins of all objects: segments, semaphore sets, queues.
    pub(crate) fn origins(&self) -> impl Iterator<Item = &Origin> {
        let segments = self.segments.iter().map(|leak| &leak.origin);
        let semaphores = self.semaphores.iter().map(|leak| &leak.origin);
        segments.chain(semaphores).chain(self.queues.iter().map(|leak| &leak.origin))
    }
}

/// The processes that are known to be related to an object.
enum Users<'a> {
    /// The kernel shows the creator of a segment.
    Creator(&'a Segment),
    /// The kernel shows the last process that operated on each semaphore.
    Semaphores(&'a SemaphoreSet),
    /// The kernel shows the last sender and the last receiver.
    Queue(&'a MessageQueue),
}

struct Judge<'a> {
    scope: Scope<'a>,
    creators: Option<&'a Creators>,
    lookups: &'a Lookups,
}

impl Judge<'_> {
    fn leaks_among<T>(&self, objects: Vec<T>, users: impl Fn(&T) -> Users<'_>) -> Vec<Leak<T>>
    where
        Object: for<'a> From<&'a T>,
    {
        let leak = |object: T| {
            let (origin, is_certain) = self.leak(&Object::from(&object), &users(&object))?;
            Some(Leak { object, origin, is_certain })
        };
        objects.into_iter().filter_map(leak).collect()
    }

    /// Returns `None` if an object is not a leak. Otherwise returns its origin, and whether the command certainly created
    /// it.
    fn leak(&self, object: &Object, users: &Users<'_>) -> Option<(Origin, bool)> {
        let origin = match self.creators.map(|creators| creators.of(object)) {
            None => Origin::Untraced,
            Some(None) => Origin::Unseen,
            Some(Some(Creator::Call(creation))) => Origin::Call(creation),
            Some(Some(Creator::OneOfSeveral)) => Origin::OneOfSeveral,
        };
        match (self.scope, &origin) {
            (Scope::Private, _) | (Scope::Shared(_), Origin::Call(_) | Origin::OneOfSeveral) => Some((origin, true)),
            (Scope::Shared(_), Origin::Unseen) => None,
            (Scope::Shared(before), Origin::Untraced) => {
                let is_new_and_ours = object.creator.0 == geteuid().as_raw() && !before.has(object);
                (is_new_and_ours && !self.belongs_to_another(users)).then(|| (origin, self.is_of_command(users)))
            }
        }
    }

    /// Returns whether a new object of the user was certainly created by the command, or by a process that has exited.
    /// The kernel shows the creator only of segments.
    fn is_of_command(&self, users: &Users<'_>) -> bool {
        let Users::Creator(segment) = users else { return false };
        match state::creator(segment, self.lookups) {
            Presence::Alive => is_descendant(segment.cpid) == Some(true),
            Presence::Exited => true,
            Presence::Unknown => false,
        }
    }

    /// Returns whether a living process that is not our descendant created the object, or uses it.
    fn belongs_to_another(&self, users: &Users<'_>) -> bool {
        let pids = match users {
            Users::Creator(segment) => match state::creator(segment, self.lookups) {
                Presence::Alive => vec![segment.cpid],
                Presence::Exited | Presence::Unknown => Vec::new(),
            },
            Users::Semaphores(set) => sysv::users_of_semaphores(set, MAX_SEMAPHORES),
            Users::Queue(queue) => queue.users.to_vec(),
        };
        pids.into_iter().any(|pid| pid > 0 && is_descendant(pid) == Some(false))
    }
}
