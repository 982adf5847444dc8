//! The registers that identify a frame of a stack.

/// The registers of a frame.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    pub pc: u64,
    pub sp: u64,
    /// The frame pointer. The kernel does not show it for a waiting thread: it is known once a function has saved it.
    pub fp: Option<u64>,
    /// Whether `pc` is a return address.
    pub is_return: bool,
}
