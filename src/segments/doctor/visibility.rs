//! Checks of what is visible to this process, and of the commands that cannot work here.

use std::io;

use super::{Check, Health};
use crate::linux::{cause, written_by_child};
use crate::segments::attachments::Attachments;
use crate::segments::lookup::rows;
use crate::system::namespace::enter_private;
use crate::system::process::{HIDDEN, is_in_nested_pid_namespace, proc_is_ours};
use crate::system::tracepoints::Tracepoints;
use crate::sysv::Segments;
use crate::values::counted;

/// Checks the kernel's table.
pub(super) fn table() -> Check {
    let name = "table";
    let count = rows().and_then(|rows| rows.map(|row| row.map(drop)).collect::<Result<Vec<_>, _>>());
    let remedy = "mount /proc whole (without subset=pid), or run shmadm outside of the sandbox";
    match (count, Segments::open()) {
        (Ok(rows), Ok(_)) => {
            Check::new(name, Health::Ok, format!("{} can be seen, readable or not", counted(rows.len(), "segment")))
        }
        (Ok(rows), Err(error)) => {
            let finding = format!(
                "/proc/sysvipc/shm is hidden ({}): shmctl(2) shows {}, but not how much memory is resident or swapped out",
                cause(&error),
                counted(rows.len(), "segment")
            );
            Check::new(name, Health::Note, finding).remedy(remedy)
        }
        (Err(error), _) => Check::new(name, Health::Problem, error.to_string()).remedy(remedy),
    }
}

/// Checks other processes, which show attachments and whether a creator is alive.
pub(super) fn processes() -> Check {
    let name = "processes";
    if !proc_is_ours() {
        let finding = "/proc is missing, or shows the processes of another pid namespace: it is unknown who has a \
                       segment attached, and whether its creator is alive";
        return Check::new(name, Health::Warning, finding).remedy("mount /proc in this pid namespace");
    }
    let attachments = Attachments::find();
    match (attachments.unreadable, attachments.error, is_in_nested_pid_namespace()) {
        (_, Some(error), _) => Check::new(name, Health::Unknown, format!("processes cannot be inspected: {error}")),
        (0, None, _) if attachments.hidden => {
            let finding = format!("{HIDDEN}: their attachments cannot be seen");
            Check::new(name, Health::Note, finding).remedy("run shmadm as root, or as a member of the group of gid=")
        }
        (0, None, false) => Check::new(name, Health::Ok, "the attachments of all processes can be seen"),
        (0, None, true) => {
            let finding = "this is a pid namespace of its own: creators and users of segments outside of it are unknown, \
                           and never count as exited";
            Check::new(name, Health::Note, finding)
                .remedy("run shmadm in the pid namespace of the machine (docker --pid=host)")
        }
        (unseen, None, _) => {
            let finding = format!("the attachments of {} cannot be seen", counted(unseen, "process"));
            let remedy = "run shmadm as root with CAP_SYS_PTRACE, and without a security module that forbids it";
            Check::new(name, Health::Note, finding).remedy(remedy)
        }
    }
}

/// Checks `watch --source kernel`.
pub(super) fn kernel_watch() -> Check {
    let name = "kernel-watch";
    match Tracepoints::<()>::open() {
        Ok(_) => Check::new(name, Health::Ok, "watch can follow every call, with the process that makes it"),
        Err(error) => {
            let finding = format!("watch cannot follow the calls ({}), and polls instead", cause(&error));
            let remedy = match error.kind() {
                io::ErrorKind::PermissionDenied => {
                    "run it as root (CAP_SYS_ADMIN and CAP_PERFMON), outside of containers"
                }
                _ => "it needs a kernel with CONFIG_FTRACE_SYSCALLS and CONFIG_PERF_EVENTS",
            };
            Check::new(name, Health::Note, finding).remedy(remedy)
        }
    }
}

/// Checks private IPC namespaces, for `guard` and `demo`.
pub(super) fn private_namespace() -> Check {
    let name = "private-namespace";
    // If the child does not return, nothing is known, and the attempt failed.
    let tried = written_by_child(
        |mut out| {
            use io::Write;
            let refused = enter_private().err().map_or_else(String::new, |refused| refused.to_string());
            out.write_all(refused.as_bytes())
        },
        |_| Ok(()),
    );
    let refused = match tried {
        Ok((refused, ())) => String::from_utf8_lossy(&refused).into_owned(),
        Err(error) => cause(&error),
    };
    if refused.is_empty() {
        return Check::new(name, Health::Ok, "guard and demo can work in an IPC namespace of their own");
    }
    let finding = format!("guard cannot create an IPC namespace of its own: {refused}");
    Check::new(name, Health::Note, finding).remedy("guard --shared works in this one")
}
