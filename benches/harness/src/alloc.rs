//! What is on the heap, if that is counted.

#[cfg(feature = "count")]
#[global_allocator]
static ALLOCATOR: &stats_alloc::StatsAlloc<std::alloc::System> = &stats_alloc::INSTRUMENTED_SYSTEM;

/// What has been taken from the heap so far, and what of that is still there.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Heap {
    pub(crate) blocks: usize,
    pub(crate) live_bytes: usize,
}

impl Heap {
    #[cfg(feature = "count")]
    pub(crate) fn now() -> Option<Self> {
        let stats = ALLOCATOR.stats();
        Some(Self {
            blocks: stats.allocations + stats.reallocations,
            live_bytes: stats.bytes_allocated - stats.bytes_deallocated,
        })
    }

    #[cfg(not(feature = "count"))]
    pub(crate) fn now() -> Option<Self> {
        None
    }

    /// What has come since then.
    pub(crate) fn since(self, then: Self) -> Self {
        Self {
            blocks: self.blocks - then.blocks,
            live_bytes: self.live_bytes.saturating_sub(then.live_bytes),
        }
    }
}
