//! Two processes that add to the same number at the same time.

use super::{Race, Stage};
use crate::demo::Stop;
use crate::demo::cast::Cast;
use crate::demo::name::{Label, Role};
use crate::demo::race::{Event, lost_update};
use crate::demo::request::{Outcome, Request};
use crate::error::Error;

/// How many times longer each further race is, until an update is lost. On a machine with one processor, a short race
/// can end before the other process runs.
const LENGTHS: [u32; 15] = [1, 1, 1, 10, 10, 10, 10, 10, 30, 30, 30, 30, 30, 30, 30];

impl Stage {
    /// Two processes add to the number until an update is lost; once, if a lock protects it.
    pub(super) fn race(&mut self, roles: [Role; 2], label: Label, count: u32, is_locked: bool) -> Result<(), Stop> {
        for (tries, length) in (1..).zip(LENGTHS) {
            let count = count * length;
            let (found, events) = self.race_once(roles, label, count, is_locked)?;
            let expected = 2 * u64::from(count);
            if is_locked || (found < expected && events.is_some()) {
                let (lock, unlock) = if is_locked { ("lock(); ", " unlock();") } else { ("", "") };
                for role in roles {
                    let address = self.address(role, label);
                    self.note(role, format!("in C: long *n = (long *) {address:#x};"));
                    self.note(role, format!("      for (i = 0; i < {count}; i++) {{ {lock}*n = *n + 1;{unlock} }}"));
                }
                self.note(roles[0], format!("in C: printf(\"%ld\", *n) prints: {found}"));
                self.mark_written(label);
                self.race = Some(Race { count, found, tries, events });
                return Ok(());
            }
        }
        Err(Error::failed(format!("cannot show a lost update: none was lost in {} races", LENGTHS.len()))
            .hint("run it on a machine with two processors")
            .into())
    }

    /// Returns the number after a race, and the order of reads and writes that lost an update.
    fn race_once(
        &mut self,
        roles: [Role; 2],
        label: Label,
        count: u32,
        is_locked: bool,
    ) -> Result<(u64, Option<[Event; 4]>), Stop> {
        self.silently(roles[0], &Request::Clear { label })?;
        for role in roles {
            self.cast.ask(role, &Request::Add { label, count, is_locked })?;
        }
        let mut updates = Vec::new();
        for role in roles {
            let answer = self.cast.answer(role, &self.shutdown)?;
            match answer.result {
                Ok(Outcome::Updates(made)) => updates.push(made),
                Ok(_) => {}
                Err(refusal) => return Err(Cast::cannot(role, &refusal).into()),
            }
        }
        let [first, second] = &updates[..] else { return Err(Cast::has_ended(roles[0]).into()) };
        let found = match self.silently(roles[0], &Request::Read { label, is_number: true })? {
            Outcome::Text(text) => text.parse().unwrap_or_default(),
            _ => 0,
        };
        Ok((found, lost_update((roles[0], first), (roles[1], second))))
    }
}
