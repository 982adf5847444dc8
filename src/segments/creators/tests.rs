//! Calls and objects of a kernel simulated by the test.

use std::sync::Mutex;

use super::*;
use crate::linux::seccomp::CreatingCall;
use crate::values::Key;

/// A kernel with these objects, and with threads that have or have not returned from their calls.
struct Fake {
    objects: Mutex<Vec<Object>>,
    returned: Mutex<Vec<i32>>,
}

impl Kernel for Fake {
    fn objects(&self, kind: ObjectKind) -> io::Result<Vec<Object>> {
        Ok(self.objects.lock().unwrap().iter().filter(|object| object.kind == kind).cloned().collect())
    }

    fn object_at(&self, _: ObjectKind, _: i32) -> Option<Object> {
        None
    }

    fn progress(&self, creation: &Creation) -> Progress {
        let returned = self.returned.lock().unwrap().contains(&creation.tid);
        if returned { Progress::Returned } else { Progress::Running }
    }
}

fn queue(id: i32, key: i32) -> Object {
    Object {
        kind: ObjectKind::Queue,
        id,
        key: Key::from_raw(key),
        size: 0,
        cpid: None,
        creator: (0, 0),
        is_marked: false,
    }
}

fn creators() -> Creators<Fake> {
    let there = vec![queue(0, 7)];
    Creators::new(Fake { objects: Mutex::new(there), returned: Mutex::default() }, None).unwrap()
}

/// Simulates a thread that is about to create a queue.
fn calls(creators: &Creators<Fake>, tid: i32, key: i32) {
    let kind = ObjectKind::Queue;
    let call = CreatingCall { kind, key: Key::from_raw(key), size: 0, flags: 0o1600, is_32bit: false };
    creators.creates(Creation { call, tid, after: Duration::ZERO, caller: None });
}

fn appears(creators: &Creators<Fake>, object: &Object) {
    creators.kernel.objects.lock().unwrap().push(object.clone());
}

/// Returns the thread that created a queue: `Some(None)` if it was one of several.
fn creator(creators: &Creators<Fake>, object: &Object) -> Option<Option<i32>> {
    creators.of(object).map(|creator| match creator {
        Creator::Call(creation) => Some(creation.tid),
        Creator::OneOfSeveral => None,
    })
}

#[test]
fn earlier_objects_have_no_creator() {
    let creators = creators();
    calls(&creators, 1, 7);
    creators.finish();
    assert_eq!(creator(&creators, &queue(0, 7)), None);
}

#[test]
fn each_call_gets_the_object_that_appears_before_the_next_equal_call() {
    let creators = creators();
    calls(&creators, 1, 0);
    appears(&creators, &queue(1, 0));
    calls(&creators, 2, 0);
    appears(&creators, &queue(2, 0));
    calls(&creators, 1, 9);
    appears(&creators, &queue(3, 9));
    creators.finish();
    let found: Vec<_> = [(1, 0), (2, 0), (3, 9)].map(|(id, key)| creator(&creators, &queue(id, key))).into();
    assert_eq!(found, [Some(Some(1)), Some(Some(2)), Some(Some(1))]);
}

#[test]
fn a_call_that_created_nothing_is_not_the_creator_of_another_calls_object() {
    let creators = creators();
    calls(&creators, 1, 0);
    creators.kernel.returned.lock().unwrap().push(1);
    calls(&creators, 2, 0);
    appears(&creators, &queue(1, 0));
    creators.finish();
    assert_eq!(creator(&creators, &queue(1, 0)), Some(Some(2)));
}

#[test]
fn two_indistinguishable_calls_are_one_of_several() {
    let creators = creators();
    calls(&creators, 1, 0);
    // The first thread gets no processor for longer than the second one waits.
    calls(&creators, 2, 0);
    appears(&creators, &queue(1, 0));
    creators.finish();
    assert_eq!(creator(&creators, &queue(1, 0)), Some(None));
}

#[test]
fn a_reused_identifier_is_another_object() {
    let creators = creators();
    calls(&creators, 1, 0);
    appears(&creators, &queue(1, 0));
    creators.finish();
    let other = Object { creator: (5, 5), ..queue(1, 0) };
    assert_eq!(creator(&creators, &other), None);
}
