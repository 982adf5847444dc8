//! The processes that a command has to know.

use std::cell::{OnceCell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::iter;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;

use super::cgroup::Cgroups;
use super::patience::{ask_all, note_missed};
use super::process::{Running, arguments, proc_is_ours, read_commands, shown, start_of};
use super::process_stat::Stat;

/// A cache of processes: each is read from /proc once.
#[derive(Debug, Default)]
pub(crate) struct Processes {
    proc_is_ours: OnceCell<bool>,
    /// The pids that may be needed. They are read together with the first that is.
    announced: RefCell<Vec<i32>>,
    running: RefCell<BTreeMap<i32, Option<Option<Rc<Running>>>>>,
    commands: RefCell<BTreeMap<i32, Option<Rc<str>>>>,
    cgroups: RefCell<BTreeMap<i32, Option<Rc<Cgroups>>>>,
}

impl Processes {
    /// Creates an empty cache.
    pub(crate) fn new() -> Processes {
        Processes::default()
    }

    /// Returns the process that has this pid now; `Some(None)` if no process has it. Returns `None` if /proc shows
    /// another pid namespace than ours, because its pids then mean other processes, or if the process does not answer:
    /// it may be a later one.
    pub(crate) fn running(&self, pid: i32) -> Option<Option<Rc<Running>>> {
        if !*self.proc_is_ours.get_or_init(proc_is_ours) {
            return None;
        }
        self.read_processes(pid);
        let found = self.running.borrow().get(&pid).cloned().flatten();
        if found.is_none() {
            note_missed(&[pid]);
        }
        found
    }

    /// Returns whether a process was asked for, and /proc does not show the processes of our pid namespace.
    pub(crate) fn are_unknown(&self) -> bool {
        self.proc_is_ours.get() == Some(&false)
    }

    /// Announces processes that [`Processes::running`] may be asked for.
    pub(crate) fn announce(&self, pids: impl Iterator<Item = i32>) {
        self.announced.borrow_mut().extend(pids);
    }

    /// Reads a process, unless it is known, and all that are announced.
    fn read_processes(&self, pid: i32) {
        let mut running = self.running.borrow_mut();
        if running.contains_key(&pid) {
            return;
        }
        let pids = existing(self.announced.take().into_iter().chain([pid]), &mut running);
        let answers = ask_all(&pids, |pid| start_of(pid, Stat::read(pid).ok().as_ref()));
        for (pid, answer) in pids.into_iter().zip(answers) {
            let found = answer.map(|found| found.map(|(ticks, started)| Running::new(pid, ticks, started)));
            running.insert(pid, found);
        }
    }

    /// Reads several processes with their command lines and control groups, which needs one thread instead of three.
    pub(crate) fn read_all(&self, pids: impl Iterator<Item = i32>) {
        if !*self.proc_is_ours.get_or_init(proc_is_ours) {
            return;
        }
        let mut running = self.running.borrow_mut();
        let pids = existing(pids, &mut running);
        let notes = Arc::<Mutex<BTreeMap<i32, _>>>::default();
        let noted = Arc::clone(&notes);
        let answers = ask_all(&pids, move |pid| {
            let stat = Stat::read(pid).ok();
            let note = (start_of(pid, stat.as_ref()), Cgroups::of(pid), stat);
            // Before the command line is read: a process that is stuck in mmap(2) shows only this.
            noted.lock().unwrap_or_else(PoisonError::into_inner).insert(pid, note);
            let arguments = arguments(pid);
            // Read last, because the pid may have been reused in between.
            (arguments, Stat::read(pid).ok().map(|stat| stat.started))
        });
        let mut notes = notes.lock().unwrap_or_else(PoisonError::into_inner);
        for (pid, answer) in pids.into_iter().zip(answers) {
            let Some((start, cgroups, stat)) = notes.remove(&pid) else {
                running.insert(pid, None);
                continue;
            };
            running.insert(pid, Some(start.map(|(ticks, started)| Running::new(pid, ticks, started))));
            let (Some(_), Some(stat)) = (start, stat) else { continue };
            if answer.is_none() {
                note_missed(&[pid]);
            }
            let is_same = answer.as_ref().is_none_or(|(_, started)| *started == Some(stat.started));
            let command = shown(answer.map(|(arguments, _)| arguments), &stat.comm);
            self.commands.borrow_mut().insert(pid, is_same.then(|| command.into()));
            self.cgroups.borrow_mut().insert(pid, cgroups.filter(|_| is_same).map(Rc::new));
        }
    }

    /// Returns the command line and the control groups of a process, if they were read before.
    pub(crate) fn known(&self, pid: i32) -> Option<(Rc<str>, Option<Rc<Cgroups>>)> {
        let command = self.commands.borrow().get(&pid)?.clone()?;
        Some((command, self.cgroups.borrow().get(&pid)?.clone()))
    }

    /// Returns the command line of the process that [`Processes::running`] returns, escaped for display.
    pub(crate) fn command(&self, pid: i32) -> Option<Rc<str>> {
        self.read_commands(iter::once(pid));
        self.commands.borrow().get(&pid).cloned().flatten()
    }

    /// Reads the command lines of several processes together, for [`Processes::command`].
    pub(crate) fn read_commands(&self, pids: impl Iterator<Item = i32>) {
        let mut commands = self.commands.borrow_mut();
        let unknown: BTreeSet<i32> = pids.filter(|pid| !commands.contains_key(pid)).collect();
        let running = |pid: &i32| Some((*pid, self.running(*pid)??));
        let running: Vec<(i32, Rc<Running>)> = unknown.iter().filter_map(running).collect();
        let pids: Vec<i32> = running.iter().map(|(pid, _)| *pid).collect();
        for ((pid, running), read) in running.into_iter().zip(read_commands(&pids)) {
            // The pid may have been reused since.
            let read = read.filter(|(stat, _)| stat.started == running.ticks);
            commands.insert(pid, read.map(|(_, command)| command.into()));
        }
    }

    /// Returns the control groups of the process that [`Processes::running`] returns.
    pub(crate) fn cgroups(&self, pid: i32) -> Option<Rc<Cgroups>> {
        self.running(pid)??;
        let mut cgroups = self.cgroups.borrow_mut();
        if !cgroups.contains_key(&pid) {
            // Those of all known processes, because a thread for each of them would be slow.
            let running = self.running.borrow();
            let alive = running.iter().filter_map(|(pid, found)| Some((*pid, found.as_ref()?.as_ref()?.ticks)));
            let (pids, ticks): (Vec<i32>, Vec<u64>) = alive.filter(|(pid, _)| !cgroups.contains_key(pid)).unzip();
            // The start is read afterwards, because the pid may have been reused in between.
            let answers = ask_all(&pids, |pid| Some((Cgroups::of(pid)?, Stat::read(pid).ok()?.started)));
            for ((other, ticks), answer) in pids.into_iter().zip(ticks).zip(answers) {
                if other == pid && answer.is_none() {
                    note_missed(&[pid]);
                }
                let found = answer.flatten().filter(|(_, started)| *started == ticks);
                cgroups.insert(other, found.map(|(cgroups, _)| Rc::new(cgroups)));
            }
        }
        cgroups.get(&pid).cloned().flatten()
    }
}

/// Returns those of the pids that are not known and that a process has. Records the others.
fn existing(pids: impl Iterator<Item = i32>, running: &mut BTreeMap<i32, Option<Option<Rc<Running>>>>) -> Vec<i32> {
    let unknown: BTreeSet<i32> = pids.filter(|pid| *pid > 0 && !running.contains_key(pid)).collect();
    // kill(2) finds a process even if /proc hides other users' processes (hidepid).
    let (gone, existing) = unknown.into_iter().partition(|pid| kill(Pid::from_raw(*pid), None) == Err(Errno::ESRCH));
    running.extend(Vec::into_iter(gone).map(|pid| (pid, Some(None))));
    existing
}
