//! The effects of calls.

use nix::errno::Errno;

use super::super::table::Known;
use super::super::tasks::Place;
use super::super::witness::Sight;
use super::super::{Cause, Failure, Occurrence, OccurrenceKind, call};
use super::{Machine, Trigger};
use crate::system::tracepoints::{Call, Record};
use crate::sysv::{Segment, control_by_index};
use crate::values::{ShmId, UNKNOWN_ID};

impl Machine {
    /// Processes the return of a call.
    pub(super) fn returned(
        &mut self,
        record: &Record,
        call: Call,
        arguments: [u64; 3],
        result: i64,
        sight: Option<Sight>,
    ) {
        let Record { pid, tid, time, .. } = *record;
        let Some(namespace) = self.tasks.thread(tid).map(|thread| thread.namespace) else { return };
        if self.all_namespaces {
            self.tables.entry(namespace).or_default();
        }
        let trigger = self.trigger(pid, None, Cause::Call(call), time);
        if let Ok(errno @ 1..4096) = i32::try_from(-i128::from(result)) {
            return self.failed(namespace, call, arguments, Errno::from_raw(errno), trigger);
        }
        let [first, second, third] = arguments;
        match call {
            Call::Get => self.got(namespace, record, [first, second, third], result, sight, &trigger),
            Call::Attach => {
                let Some(id) = ShmId::new(call::int(first)) else { return };
                let place = Place { namespace, id };
                let replaced = self.tasks.attach(pid, result.cast_unsigned(), place);
                if let Some(replaced) = replaced {
                    self.detached(replaced, pid, &trigger);
                }
                let Some(table) = self.tables.get_mut(&namespace) else { return };
                if let (None, Some(Sight::Found(segment))) = (table.segments.get(&id), sight) {
                    // A 32-bit program created the segment; such calls are not recorded.
                    table.adopt(Segment { nattch: segment.nattch.saturating_sub(1), ..*segment }, trigger.now);
                }
                let change = table.attach(id, pid, trigger.now);
                self.report(change, &trigger, namespace);
            }
            Call::Detach => match self.tasks.detach(pid, first) {
                Some(place) => self.detached(place, pid, &trigger),
                None => self.is_confused = true,
            },
            Call::Control => {
                if let Some(id) = ShmId::new(call::int(first)) {
                    self.controlled(Place { namespace, id }, call::int(second), sight, &trigger);
                }
            }
        }
    }

    /// Processes an identifier returned by shmget(2): the segment was either created or found.
    fn got(
        &mut self,
        namespace: u64,
        record: &Record,
        [key, size, flags]: [u64; 3],
        result: i64,
        sight: Option<Sight>,
        trigger: &Trigger,
    ) {
        let (key, flags) = (call::key(key), call::int(flags));
        let Some(table) = self.tables.get_mut(&namespace) else { return };
        let Some(id) = i32::try_from(result).ok().and_then(ShmId::new) else { return };
        let may_create = key.is_private() || flags & libc::IPC_CREAT != 0;
        if table.segments.contains_key(&id) || !may_create {
            return;
        }
        let sight = match sight {
            Some(Sight::Found(segment)) => Some(segment),
            _ => None,
        };
        let is_sure = key.is_private() || flags & libc::IPC_EXCL != 0;
        if !is_sure && sight.as_ref().is_some_and(|segment| segment.cpid > 0 && segment.cpid != record.pid) {
            // Another process has just created it. The return of that call follows.
            return;
        }
        // The segment as the kernel creates it, whatever has happened to it since (ipc/shm.c, `newseg`).
        let user = self.tasks.process(record.pid).and_then(|process| process.user);
        let (uid, gid) = match (&sight, user) {
            (Some(segment), _) => (segment.cuid, segment.cgid),
            (None, Some(user)) => (user.uid, user.gid),
            (None, None) => (UNKNOWN_ID, UNKNOWN_ID),
        };
        let segment = Segment {
            key,
            id,
            raw_mode: (flags & 0o777) as u16,
            size: sight.map_or(size, |segment| segment.size),
            cpid: record.pid,
            lpid: 0,
            nattch: 0,
            uid,
            gid,
            cuid: uid,
            cgid: gid,
            atime: 0,
            dtime: 0,
            ctime: trigger.now.second,
            rss: None,
            swap: None,
            namespace: self.all_namespaces.then_some(namespace),
        };
        let change = self.tables.get_mut(&namespace).map(|table| table.create(segment, record.tid, trigger.now));
        self.report(change, trigger, namespace);
    }

    fn controlled(&mut self, place: Place, command: i32, sight: Option<Sight>, trigger: &Trigger) {
        let Some(table) = self.tables.get_mut(&place.namespace) else { return };
        let now = trigger.now;
        let is_locked = table.segments.get(&place.id).is_some_and(|known| known.segment.is_locked());
        let change = match command {
            libc::IPC_RMID => table.remove_or_mark(place.id, now),
            libc::IPC_SET => table.set(place.id, now, |segment| {
                segment.ctime = now.second;
                // The new values are in the caller's memory. The segment itself shows them, if it still exists.
                if let Some(Sight::Found(seen)) = sight {
                    (segment.uid, segment.gid) = (seen.uid, seen.gid);
                    segment.raw_mode = segment.raw_mode & !0o777 | seen.raw_mode & 0o777;
                }
            }),
            libc::SHM_LOCK if !is_locked => table.set(place.id, now, |segment| *segment = segment.locked(true)),
            libc::SHM_UNLOCK if is_locked => table.set(place.id, now, |segment| *segment = segment.locked(false)),
            _ => None,
        };
        self.report(change, trigger, place.namespace);
    }

    fn failed(&mut self, namespace: u64, call: Call, arguments: [u64; 3], errno: Errno, trigger: Trigger) {
        let Some(table) = self.tables.get(&namespace).filter(|_| self.wants_failures) else { return };
        if errno == Errno::EINVAL && call == Call::Control && control_by_index(call::int(arguments[1])) {
            // Nothing has this index. ipcs(1) and others try each index in this way.
            return;
        }
        let key = (call == Call::Get).then(|| call::key(arguments[0]));
        let segment = match call {
            Call::Get => {
                let has_key = |known: &&Known| Some(known.segment.key) == key;
                table.segments.values().filter(|known| !known.segment.key.is_private()).find(has_key)
            }
            Call::Attach | Call::Control => ShmId::new(call::int(arguments[0])).and_then(|id| table.segments.get(&id)),
            Call::Detach => None,
        };
        let segment = segment.map(|known| known.segment.clone());
        let call = call::text(call, arguments);
        let namespace = self.all_namespaces.then_some(namespace);
        let kind = OccurrenceKind::Failed(Failure { call, errno, key, segment, namespace });
        self.out.push(Occurrence {
            time: self.since_epoch(trigger.now.time),
            kind,
            actor: trigger.actor,
            cause: trigger.cause,
        });
    }
}
