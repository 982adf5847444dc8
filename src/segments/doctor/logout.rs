//! The check whether systemd-logind removes segments at logout.

use std::collections::BTreeMap;
use std::path::Path;

use super::{Check, Health};
use crate::linux::cause;
use crate::segments::lookup::rows;
use crate::system::logind::{self, RemoveIpc};
use crate::system::names::Names;
use crate::system::namespace::Identity;
use crate::system::patience::ask;
use crate::system::process::is_in_nested_pid_namespace;
use crate::values::{UNKNOWN_ID, visible_path};

/// Checks `RemoveIPC=` of logind.conf(5).
pub(super) fn remove_ipc() -> Check {
    let name = "remove-ipc";
    let RemoveIpc { is_on, file } = match RemoveIpc::read(Path::new("/")) {
        Ok(configured) => configured,
        Err((path, error)) => {
            let finding = format!(
                "it is unknown whether systemd-logind removes segments when a user logs out: cannot read {}: {}",
                visible_path(&path),
                cause(&error)
            );
            return Check::new(name, Health::Unknown, finding);
        }
    };
    let is_set = file.is_some();
    let source = file.map_or_else(|| "the default".into(), |file| visible_path(&file).into_owned());
    if !is_on {
        let finding = format!("RemoveIPC=no ({source}): systemd-logind removes no segments");
        return Check::new(name, Health::Ok, finding);
    }
    if !logind::is_running() && is_in_container() {
        let finding = "this container shares the IPC namespace of the machine: it cannot be seen from here whether the \
                       machine's systemd-logind removes segments when a user logs out";
        return Check::new(name, Health::Unknown, finding).remedy("run shmadm doctor outside of the container");
    }
    if !logind::is_running() && is_set {
        let finding = format!(
            "RemoveIPC=yes ({source}): systemd-logind does not run here now. Once it does, it removes a user's unattached \
             segments when the user's last session ends"
        );
        return Check::new(name, Health::Warning, finding).remedy(format!("as root, set RemoveIPC=no in {source}"));
    }
    if !logind::is_running() {
        let finding = "systemd-logind does not run here, so nothing is removed when a user logs out";
        return Check::new(name, Health::Ok, finding);
    }
    // logind is in the namespace of the first process. A user who may not inspect that process gets the warning: a needless
    // warning is better than none.
    if let (Ok(ours), Some(Ok(first))) = (Identity::ours(), ask(1, Identity::of_process))
        && ours != first
    {
        let finding = format!(
            "RemoveIPC=yes ({source}), but this is not the IPC namespace of systemd-logind, which removes only the \
             segments there"
        );
        return Check::new(name, Health::Note, finding);
    }
    let last = logind::system_uid_max();
    let finding = format!(
        "RemoveIPC=yes ({source}): when the last session of a user ends, systemd-logind removes the segments that the user \
         owns and nobody has attached. It does not remove the segments of users up to uid {last}, or of users who linger.{}",
        at_risk(last)
    );
    let remedy = "as root: mkdir -p /etc/systemd/logind.conf.d, write \"[Login]\" and \"RemoveIPC=no\" into \
                  /etc/systemd/logind.conf.d/ipc.conf, and systemctl restart systemd-logind; or for one user \
                  loginctl enable-linger USER; or run the service as a system user";
    Check::new(name, Health::Warning, finding).remedy(remedy)
}

/// Returns whether this process is in another pid namespace than the machine's, but in the machine's IPC namespace.
fn is_in_container() -> bool {
    is_in_nested_pid_namespace() && Identity::ours().is_ok_and(Identity::is_initial)
}

/// Returns a text about whose segments would be removed now.
fn at_risk(system_uid_max: u32) -> String {
    let names = Names::default();
    let mut owners = BTreeMap::<u32, u64>::new();
    for row in rows().into_iter().flatten().flatten() {
        if row.uid == UNKNOWN_ID {
            continue;
        }
        let user = names.user(row.uid);
        let lingers = user.is_some_and(|user| logind::lingers(&user));
        if row.uid > system_uid_max && row.nattch == 0 && !lingers {
            *owners.entry(row.uid).or_default() += 1;
        }
    }
    let list: Vec<_> =
        owners.iter().take(5).map(|(uid, count)| format!("{} ({count})", names.user_or_uid(*uid))).collect();
    match list.len() {
        0 => String::new(),
        _ => format!(" Now that would be segments of {}{}", list.join(", "), if owners.len() > 5 { ", …" } else { "" }),
    }
}
