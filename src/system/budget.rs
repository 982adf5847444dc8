//! A limit on what is read of other processes, divided among their users, so that one user cannot use up everything.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::system::process::real_uid;

/// What may be read. Its unit is the caller's.
#[derive(Debug)]
pub(crate) struct Budget {
    /// What may be read of each process in any case.
    free: u64,
    /// What may be read beyond that of all processes of a user.
    of_user: u64,
    used: Mutex<Used>,
}

#[derive(Debug)]
struct Used {
    /// What may still be read beyond the free part, of all users together.
    left: u64,
    by_user: BTreeMap<Option<u32>, u64>,
}

impl Budget {
    pub(crate) fn new(free: u64, of_user: u64, of_all: u64) -> Budget {
        Budget { free, of_user, used: Mutex::new(Used { left: of_all, by_user: BTreeMap::new() }) }
    }

    /// Returns a process's part of the budget.
    pub(crate) fn share(&self, pid: i32) -> Share<'_> {
        Share { budget: self, pid, free: self.free, user: None }
    }

    fn take(&self, user: Option<u32>, amount: u64) -> bool {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let Used { left, by_user } = &mut *used;
        let of_user = by_user.entry(user).or_default();
        if *left < amount || *of_user + amount > self.of_user {
            return false;
        }
        *left -= amount;
        *of_user += amount;
        true
    }
}

/// A process's part of a budget.
#[derive(Debug)]
pub(crate) struct Share<'a> {
    budget: &'a Budget,
    pid: i32,
    free: u64,
    /// The process's real user, which a set-user-ID program does not change.
    user: Option<Option<u32>>,
}

impl Share<'_> {
    /// Takes an amount from the share. Returns whether there was enough.
    pub(crate) fn take(&mut self, amount: u64) -> bool {
        if let Some(left) = self.free.checked_sub(amount) {
            self.free = left;
            return true;
        }
        let user = *self.user.get_or_insert_with(|| real_uid(self.pid));
        self.budget.take(user, amount)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_user_leaves_something_for_others() {
        let budget = Budget::new(2, 5, 8);
        assert!(budget.take(Some(1), 5) && !budget.take(Some(1), 1));
        assert!(budget.take(Some(2), 3) && !budget.take(Some(2), 1));
        // The free part of each process is not affected.
        let mut share = budget.share(std::process::id() as i32);
        assert_eq!([1, 1, 1].map(|amount| share.take(amount)), [true, true, false]);
    }
}
