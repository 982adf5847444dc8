//! `shmadm list`.
