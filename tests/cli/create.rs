//! `shmadm create`.
