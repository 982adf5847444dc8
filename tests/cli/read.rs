//! `shmadm read`.
