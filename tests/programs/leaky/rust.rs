//! A function of a module leaves a segment behind.
unsafe extern "C" {
    fn shmget(key: i32, size: usize, flags: i32) -> i32;
}
mod pool {
    #[inline(never)]
    pub fn create_pool() -> i32 {
        let id = unsafe { super::shmget(0, 4096, 0o1600) };
        std::hint::black_box(id)
    }
}
fn main() {
    assert!(pool::create_pool() >= 0);
}
