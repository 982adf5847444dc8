//! shmadm: System V shared memory by key.

#![cfg_attr(target_env = "gnu", no_main)]

/// The C library calls this one. The `main` of the standard library would first read /proc/self/maps to find where the
/// stack ends, and set up signal handlers to tell of its overflow: a tenth of the time of a short list. The rest of what
/// it does is [`shmadm::secure_streams`]. The words of the command line are there without it, but with glibc alone
/// (std::env::args, "Platform-specific behavior").
#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "the name of a symbol")]
// SAFETY: this has the type by which the C library calls its `main`, which may leave out the arguments (System V ABI: the
// caller puts them into registers). Two of the name would not link.
#[unsafe(no_mangle)]
extern "C" fn main() -> std::ffi::c_int {
    shmadm::secure_streams();
    shmadm::main().into()
}

#[cfg(not(target_env = "gnu"))]
fn main() -> std::process::ExitCode {
    shmadm::main().into()
}
