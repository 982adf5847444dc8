//! The calls and objects of one kind.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Creator, Kernel};
use crate::segments::objects::Object;
use crate::system::tracer::{Creation, Progress};
use crate::values::ObjectKind;

/// After so many objects the whole table is read, so that what is gone is forgotten.
const MOST_PROBES: usize = 1024;

/// What is known of the calls and objects of one kind.
#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) kind: ObjectKind,
    /// Objects that were seen, by identifier, and who created them, if one of the calls did.
    seen: HashMap<i32, (Object, Option<Creator>)>,
    /// The identifier that was seen last.
    last: i32,
    /// Calls of which it is not known what they did.
    open: Vec<Open>,
    /// Objects found by index since the table was read.
    probes: usize,
}

/// A call of which it is not known what it did.
#[derive(Debug)]
struct Open {
    creation: Arc<Creation>,
    /// No other call waits for it any longer: it hangs, or finds an object that was there already.
    is_given_up: bool,
}

impl Ledger {
    pub(super) fn new(kind: ObjectKind, there: Vec<Object>) -> Ledger {
        let last = there.iter().map(|object| object.id).max().unwrap_or(-1);
        let seen = there.into_iter().map(|object| (object.id, (object, None))).collect();
        Ledger { kind, seen, last, open: Vec::new(), probes: 0 }
    }

    pub(super) fn creator(&self, object: &Object) -> Option<Creator> {
        let (seen, creator) = self.seen.get(&object.id)?;
        creator.clone().filter(|_| seen.is_same_as(object))
    }

    /// Whether it is not known of a call what it did.
    pub(super) fn is_waiting(&self) -> bool {
        !self.open.is_empty()
    }

    /// A thread makes a call: its earlier ones have returned.
    pub(super) fn call_of_thread(&mut self, tid: i32, kernel: &impl Kernel) {
        if !self.open.is_empty() {
            self.probe(kernel);
        }
        let is_earlier = |open: &Open| open.creation.tid == tid;
        if self.open.iter().any(is_earlier) {
            self.look(kernel);
            self.open.retain(|open| !is_earlier(open));
        }
    }

    /// Whether a call could be taken for one that is still open. Looks first what the open ones did.
    pub(super) fn is_in_doubt(&mut self, creation: &Creation, kernel: &impl Kernel) -> bool {
        let could_be = |open: &Open| may_be_taken_for(&open.creation, creation);
        if !self.open.iter().any(could_be) {
            return false;
        }
        self.probe(kernel);
        if self.open.iter().any(could_be) {
            self.forget_returned(kernel, could_be);
        }
        self.open.iter().any(|open| could_be(open) && !open.is_given_up)
    }

    /// The calls that this one could be taken for did nothing for too long: no other waits for them any more.
    pub(super) fn give_up(&mut self, creation: &Creation) {
        for open in self.open.iter_mut().filter(|open| may_be_taken_for(&open.creation, creation)) {
            open.is_given_up = true;
        }
    }

    /// A call is about to be executed.
    pub(super) fn expect(&mut self, creation: Creation) {
        // One that finds an object with its key creates none, unless that is removed just now.
        let key = creation.call.key;
        let finds = !key.is_private() && self.seen.values().any(|(object, _)| object.key == key);
        self.open.push(Open { creation: Arc::new(creation), is_given_up: finds });
    }

    /// Looks what the open calls did, and forgets those that have returned.
    pub(super) fn settle(&mut self, kernel: &impl Kernel) {
        if self.is_waiting() {
            self.forget_returned(kernel, |_| true);
        }
    }

    /// Reads the whole table, and finds the creators of all objects that are new in it.
    pub(super) fn look(&mut self, kernel: &impl Kernel) {
        let Ok(mut objects) = kernel.objects(self.kind) else { return };
        self.probes = 0;
        // Identifiers rise from one creation to the next (ipc/util.c, `ipc_idr_alloc`).
        objects.sort_by_key(|object| object.id);
        let mut seen = HashMap::with_capacity(objects.len());
        for object in objects {
            let known = self.seen.remove(&object.id).filter(|(known, _)| known.is_same_as(&object));
            let entry = known.unwrap_or_else(|| {
                let creator = self.take_creator(&object);
                (object.clone(), creator)
            });
            self.last = self.last.max(object.id);
            seen.insert(object.id, entry);
        }
        self.seen = seen;
    }

    /// Forgets calls that have returned and created nothing that is still there.
    fn forget_returned(&mut self, kernel: &impl Kernel, which: impl Fn(&Open) -> bool) {
        // Asked before the table is read: what they created is in it.
        let mut returned = Vec::new();
        for open in self.open.iter_mut().filter(|open| which(open)) {
            match kernel.progress(&open.creation) {
                Progress::Returned => returned.push(Arc::clone(&open.creation)),
                Progress::Stopped => open.is_given_up = true,
                Progress::Running => {}
            }
        }
        self.look(kernel);
        self.open.retain(|open| !returned.iter().any(|creation| Arc::ptr_eq(creation, &open.creation)));
    }

    /// Looks at the next indices, where the kernel puts new objects as long as it does not begin again from 0.
    fn probe(&mut self, kernel: &impl Kernel) {
        if self.probes > MOST_PROBES {
            return self.look(kernel);
        }
        while let Some(object) = self.last.checked_add(1).and_then(|index| kernel.object_at(self.kind, index)) {
            if self.seen.contains_key(&object.id) || object.id < self.last {
                return;
            }
            self.probes += 1;
            self.last = object.id;
            let creator = self.take_creator(&object);
            self.seen.insert(object.id, (object, creator));
        }
    }

    /// Finds the call that created a new object, which is then no longer open.
    fn take_creator(&mut self, object: &Object) -> Option<Creator> {
        let candidates: Vec<_> =
            (0..self.open.len()).filter(|index| may_have_created(&self.open[*index].creation, object)).collect();
        match candidates[..] {
            [] => None,
            [only] => Some(Creator::Call(self.open.swap_remove(only).creation)),
            _ => Some(Creator::OneOfSeveral),
        }
    }
}

/// Whether the kernel's row of a new object is what this call creates.
fn may_have_created(creation: &Creation, object: &Object) -> bool {
    let call = &creation.call;
    // A segment that is marked for destruction has lost its key.
    let is_key = call.key == object.key || object.is_marked;
    let is_creator = match (object.cpid, &creation.caller) {
        (Some(cpid), Some(caller)) => cpid == caller.process.pid,
        // The process of a thread that could not be looked at is not known.
        _ => true,
    };
    call.kind == object.kind && is_key && call.size == object.size && is_creator
}

/// Whether an object of one call could be taken for one of the other.
fn may_be_taken_for(one: &Creation, other: &Creation) -> bool {
    let is_other_process = match (&one.caller, &other.caller) {
        (Some(one), Some(other)) => one.process.pid != other.process.pid,
        _ => false,
    };
    let kernel_tells = one.call.kind == ObjectKind::Segment && is_other_process;
    (one.call.kind, one.call.key, one.call.size) == (other.call.kind, other.call.key, other.call.size) && !kernel_tells
}
