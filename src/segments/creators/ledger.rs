//! The calls and objects of one kind.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Creator, Kernel};
use crate::segments::objects::Object;
use crate::system::tracer::{Creation, Progress};
use crate::values::ObjectKind;

/// The number of single lookups after which the whole table is read, so that removed objects are forgotten.
const MAX_PROBES: usize = 1024;

/// The known calls and objects of one kind.
#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) kind: ObjectKind,
    /// The objects seen, by identifier, and who created them if one of the calls did.
    seen: HashMap<i32, (Object, Option<Creator>)>,
    /// The identifier seen last.
    last: i32,
    /// Calls whose result is unknown.
    open: Vec<Open>,
    /// The number of objects that were found by index after the table was last read.
    probes: usize,
}

/// A call whose result is unknown.
#[derive(Debug)]
struct Open {
    creation: Arc<Creation>,
    /// Whether no other call waits for it any longer: it hangs, or finds an existing object.
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

    /// Returns whether there is a call whose result is unknown.
    pub(super) fn is_waiting(&self) -> bool {
        !self.open.is_empty()
    }

    /// Records that a thread makes a call, which means that its earlier calls have returned.
    pub(super) fn call_of_thread(&mut self, tid: i32, kernel: &impl Kernel) {
        if !self.open.is_empty() {
            self.probe(kernel);
        }
        let is_earlier = |open: &Open| open.creation.tid == tid;
        if self.open.iter().any(is_earlier) {
            self.read_table(kernel);
            self.open.retain(|open| !is_earlier(open));
        }
    }

    /// Returns whether a call could be confused with one whose result is unknown. First checks the results of those.
    pub(super) fn is_in_doubt(&mut self, creation: &Creation, kernel: &impl Kernel) -> bool {
        let could_be = |open: &Open| could_be_confused(&open.creation, creation);
        if !self.open.iter().any(could_be) {
            return false;
        }
        self.probe(kernel);
        if self.open.iter().any(could_be) {
            self.forget_returned(kernel, could_be);
        }
        self.open.iter().any(|open| could_be(open) && !open.is_given_up)
    }

    /// Stops waiting for the calls that this one could be confused with, because they took too long.
    pub(super) fn give_up(&mut self, creation: &Creation) {
        for open in self.open.iter_mut().filter(|open| could_be_confused(&open.creation, creation)) {
            open.is_given_up = true;
        }
    }

    /// Records a call that is about to be executed.
    pub(super) fn expect(&mut self, creation: Creation) {
        // A call that finds an object with its key creates none, unless that object is removed at this moment.
        let key = creation.call.key;
        let finds = !key.is_private() && self.seen.values().any(|(object, _)| object.key == key);
        self.open.push(Open { creation: Arc::new(creation), is_given_up: finds });
    }

    /// Determines the results of the open calls, and drops those that have returned.
    pub(super) fn settle(&mut self, kernel: &impl Kernel) {
        if self.is_waiting() {
            self.forget_returned(kernel, |_| true);
        }
    }

    /// Reads the whole table, and finds the creators of all new objects.
    pub(super) fn read_table(&mut self, kernel: &impl Kernel) {
        let Ok(mut objects) = kernel.objects(self.kind) else { return };
        self.probes = 0;
        // Identifiers ascend from one creation to the next (ipc/util.c, `ipc_idr_alloc`).
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

    /// Drops calls that have returned without creating an object that still exists.
    fn forget_returned(&mut self, kernel: &impl Kernel, which: impl Fn(&Open) -> bool) {
        // Determined before the table is read, so that it contains what these calls created.
        let mut returned = Vec::new();
        for open in self.open.iter_mut().filter(|open| which(open)) {
            match kernel.progress(&open.creation) {
                Progress::Returned => returned.push(Arc::clone(&open.creation)),
                Progress::Stopped => open.is_given_up = true,
                Progress::Running => {}
            }
        }
        self.read_table(kernel);
        self.open.retain(|open| !returned.iter().any(|creation| Arc::ptr_eq(creation, &open.creation)));
    }

    /// Reads the objects at the next indices. The kernel places new objects there until it restarts from 0.
    fn probe(&mut self, kernel: &impl Kernel) {
        if self.probes > MAX_PROBES {
            return self.read_table(kernel);
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

    /// Returns the call that created a new object, and removes it from the open calls.
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

/// Returns whether a new object matches what this call creates.
fn may_have_created(creation: &Creation, object: &Object) -> bool {
    let call = &creation.call;
    // A segment marked for destruction has lost its key.
    let is_key = call.key == object.key || object.is_marked;
    let is_creator = match (object.cpid, &creation.caller) {
        (Some(cpid), Some(caller)) => cpid == caller.process.pid,
        // If a thread could not be inspected, its process is unknown.
        _ => true,
    };
    call.kind == object.kind && is_key && call.size == object.size && is_creator
}

/// Returns whether the objects that two calls create could be confused.
fn could_be_confused(one: &Creation, other: &Creation) -> bool {
    let is_other_process = match (&one.caller, &other.caller) {
        (Some(one), Some(other)) => one.process.pid != other.process.pid,
        _ => false,
    };
    let is_distinguished = one.call.kind == ObjectKind::Segment && is_other_process;
    (one.call.kind, one.call.key, one.call.size) == (other.call.kind, other.call.key, other.call.size)
        && !is_distinguished
}
