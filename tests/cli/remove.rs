//! `shmadm remove`.
