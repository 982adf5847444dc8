//! `shmadm attach-write`.
