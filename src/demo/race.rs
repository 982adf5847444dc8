//! Two processes that add to the same number, and the order in which their reads and writes happened.
//!
//! Each process draws a ticket from a shared counter before and after each read and each write. Tickets are drawn with
//! atomic instructions, so a read that has its second ticket before another one's first has happened before it.

use std::sync::atomic::Ordering::SeqCst;
use std::thread::yield_now;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::name::Role;
use crate::error::{Error, Result};
use crate::sysv::Attachment;

/// The words of the segment: the number that both add to, the lock, the tickets, and how many processes are ready.
const NUMBER: usize = 0;
const LOCK: usize = 1;
const TICKETS: usize = 2;
const READY: usize = 3;

/// How long a process waits for the other one, which may have ended.
const PATIENCE: Duration = Duration::from_secs(20);

/// One addition: the number that was read, and the tickets around the read and the write of the next number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Update {
    pub value: u64,
    pub read: (u64, u64),
    pub written: (u64, u64),
}

/// A read or write of the interleaving that is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Event {
    pub ticket: u64,
    pub role: Role,
    pub is_write: bool,
    pub value: u64,
}

/// Fills the words with zeros.
pub(super) fn clear(attachment: &Attachment) {
    [NUMBER, LOCK, TICKETS, READY].into_iter().for_each(|word| attachment.word(word).store(0, SeqCst));
}

/// Returns the number.
pub(super) fn number(attachment: &Attachment) -> u64 {
    attachment.word(NUMBER).load(SeqCst)
}

/// Waits until two processes are ready, and adds 1 `count` times: a read, an addition and a write. With `is_locked`,
/// the process holds a lock in the segment meanwhile.
///
/// # Errors
/// The other process does not come, or does not unlock.
pub(super) fn add(attachment: &Attachment, count: u32, is_locked: bool) -> Result<Vec<Update>> {
    let [number, lock, tickets, ready] = [NUMBER, LOCK, TICKETS, READY].map(|word| attachment.word(word));
    let mut updates = Vec::with_capacity(count as usize);
    let deadline = Instant::now() + PATIENCE;
    let wait = || {
        yield_now();
        if Instant::now() < deadline {
            Ok(())
        } else {
            Err(Error::failed("cannot add: the other process has not come"))
        }
    };
    ready.fetch_add(1, SeqCst);
    while ready.load(SeqCst) < 2 {
        wait()?;
    }
    let ticket = || tickets.fetch_add(1, SeqCst);
    for _ in 0..count {
        while is_locked && lock.swap(1, SeqCst) == 1 {
            wait()?;
        }
        let before = ticket();
        let value = number.load(SeqCst);
        let read = (before, ticket());
        let before = ticket();
        number.store(value + 1, SeqCst);
        let written = (before, ticket());
        if is_locked {
            lock.store(0, SeqCst);
        }
        updates.push(Update { value, read, written });
    }
    Ok(updates)
}

/// Finds an update that was lost: both processes read the same number before either wrote the next one. Returns the two
/// reads and the two writes in the order in which they happened, if the tickets prove that order. Of several it returns
/// the shortest one.
pub(super) fn lost_update(first: (Role, &[Update]), second: (Role, &[Update])) -> Option<[Event; 4]> {
    let mut others = second.1;
    let mut found = Vec::new();
    for update in first.1 {
        // Both lists are in the order of the tickets.
        let past = others.partition_point(|other| other.written.1 < update.read.0);
        others = &others[past..];
        let meanwhile = others.iter().take_while(|other| other.read.0 < update.written.1);
        let same = meanwhile.filter(|other| other.value == update.value);
        found.extend(same.filter_map(|other| proven_order((first.0, update), (second.0, other))));
    }
    found.into_iter().min_by_key(|events| events[3].ticket - events[0].ticket)
}

/// Returns the reads and writes of two updates in their order, if both reads certainly came before both writes.
fn proven_order(first: (Role, &Update), second: (Role, &Update)) -> Option<[Event; 4]> {
    let read = |(role, update): (Role, &Update)| {
        (Event { ticket: update.read.0, role, is_write: false, value: update.value }, update.read.1)
    };
    let write = |(role, update): (Role, &Update)| {
        (Event { ticket: update.written.0, role, is_write: true, value: update.value + 1 }, update.written.1)
    };
    let mut events = [read(first), read(second), write(first), write(second)];
    events.sort_by_key(|(event, _)| event.ticket);
    let is_proven = events.windows(2).all(|pair| pair[0].1 < pair[1].0.ticket);
    let reads_first = !events[0].0.is_write && !events[1].0.is_write;
    (is_proven && reads_first).then(|| events.map(|(event, _)| event))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update(value: u64, tickets: [u64; 4]) -> Update {
        Update { value, read: (tickets[0], tickets[1]), written: (tickets[2], tickets[3]) }
    }

    fn order(a: &[Update], b: &[Update]) -> Option<String> {
        let events = lost_update((Role('A'), a), (Role('B'), b))?;
        let word = |event: Event| format!("{}{}{}", event.role, if event.is_write { "=" } else { "?" }, event.value);
        Some(events.map(word).join(" "))
    }

    #[test]
    fn only_a_proven_order_is_shown() {
        let before = update(6, [0, 1, 2, 3]);
        for (a, b, shown) in [
            ([10, 11, 14, 15], [12, 13, 16, 17], Some("A?7 B?7 A=8 B=8")),
            ([10, 11, 16, 17], [12, 13, 14, 15], Some("A?7 B?7 B=8 A=8")),
            // The reads overlap, so either can be the first one.
            ([10, 12, 14, 15], [11, 13, 16, 17], None),
            // B reads after A has written.
            ([10, 11, 12, 13], [14, 15, 16, 17], None),
        ] {
            assert_eq!(order(&[before, update(7, a)], &[update(7, b)]).as_deref(), shown, "{a:?} {b:?}");
        }
        assert_eq!(order(&[update(7, [10, 11, 14, 15])], &[update(8, [12, 13, 16, 17])]), None);
        assert_eq!(order(&[], &[]), None);
    }
}
