//! shmadm: System V shared memory by key.

use std::process::ExitCode;

fn main() -> ExitCode {
    shmadm::main().into()
}
