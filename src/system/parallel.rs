//! Divides work among as many threads as there are processors.

use std::io;
use std::num::NonZero;
use std::panic::resume_unwind;
use std::thread::{Builder, ScopedJoinHandle, available_parallelism, scope};

/// Runs `work` on shares of `all` of at least `min_share` elements, and returns the results in order.
///
/// Each thread has its own namespaces (setns(2)), and starts in those of the thread that created it.
pub(crate) fn in_shares<T: Sync, R: Send>(all: &[T], min_share: usize, work: impl Fn(&[T]) -> R + Sync) -> Vec<R> {
    let threads = available_parallelism().map_or(1, NonZero::get);
    let share = all.len().div_ceil(threads).max(min_share);
    if share >= all.len() {
        return vec![work(all)];
    }
    let work = &work;
    scope(|scope| {
        let begin = |part| (part, Builder::new().spawn_scoped(scope, move || work(part)));
        let shares: Vec<_> = all.chunks(share).map(begin).collect();
        let finish = |(part, thread): (_, io::Result<ScopedJoinHandle<'_, R>>)| match thread {
            Ok(thread) => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
            // No further thread could be started (RLIMIT_NPROC, a cgroup's pids.max): this thread does the work.
            Err(_) => work(part),
        };
        shares.into_iter().map(finish).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_element_is_processed_once_and_in_order() {
        for (length, min_share) in [(0, 1), (1, 1), (7, 2), (1000, 3), (10, 100)] {
            let all: Vec<u32> = (0..length).collect();
            assert_eq!(in_shares(&all, min_share, <[u32]>::to_vec).concat(), all, "{length} {min_share}");
        }
    }
}
