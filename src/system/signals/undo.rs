//! Undoing incomplete work when a signal arrives.

use std::io;
use std::os::fd::AsFd;

use super::thread::SignalThread;
use super::{BlockedSignals, end_by};

/// Undoes incomplete work if a signal arrives before this is dropped; then the signal ends the process.
///
/// A thread waits for the signal, because the calling thread may be waiting for a reader or writer that never comes. If
/// no thread can be started, the signals end the process without undoing anything.
#[derive(Debug)]
pub(crate) struct UndoOnSignal {
    // Fields are dropped in this order: the thread has ended when the signals are unblocked.
    _thread: Option<SignalThread>,
    _blocked: Option<BlockedSignals>,
}

impl UndoOnSignal {
    pub(super) fn new(blocked: BlockedSignals, undo: impl FnOnce() + Send + 'static) -> UndoOnSignal {
        match watch(&blocked, undo) {
            Ok(thread) => UndoOnSignal { _thread: Some(thread), _blocked: Some(blocked) },
            Err(_) => UndoOnSignal { _thread: None, _blocked: None },
        }
    }
}

fn watch(blocked: &BlockedSignals, undo: impl FnOnce() + Send + 'static) -> io::Result<SignalThread> {
    let signals = blocked.descriptor()?;
    let arrived = signals.as_fd().try_clone_to_owned()?;
    let mut undo = Some(undo);
    SignalThread::start(arrived, move || {
        if let Ok(Some(signal)) = signals.read_signal() {
            if let Some(undo) = undo.take() {
                undo();
            }
            end_by(signal.ssi_signo.cast_signed());
        }
    })
}
