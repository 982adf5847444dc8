//! `shmadm stat`.
