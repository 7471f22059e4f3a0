//! RocksDB's settings, for point reads and writes of a task's store within a small, bounded memory.

use std::sync::atomic::{AtomicBool, Ordering};

use ::rocksdb::{
    BlockBasedOptions, Cache, DBCompressionType, DBRecoveryMode, DataBlockIndexType, Env, LogLevel, Options,
    WriteBufferManager,
};

/// Limits of all databases of an instance together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreMemory {
    /// Bytes of the block cache; indexes, filters and memtables are charged to it, so it bounds
    /// them all.
    pub cache_bytes: usize,
    /// Bytes of memtables; at more the largest are written out. Part of `cache_bytes`.
    pub write_buffer_bytes: usize,
    /// Background threads for flushes and compactions.
    pub threads: usize,
}

impl Default for StoreMemory {
    fn default() -> StoreMemory {
        StoreMemory { cache_bytes: 64 << 20, write_buffer_bytes: 24 << 20, threads: 2 }
    }
}

/// Resources that the databases share.
pub(super) struct Shared {
    cache: Cache,
    buffers: WriteBufferManager,
    env: Env,
    /// The options that every database starts from.
    checked: Options,
    memory: StoreMemory,
    /// Whether other users of memory already exceed the limit.
    is_tight: AtomicBool,
}

impl Shared {
    pub fn new(memory: &StoreMemory) -> Result<Shared, ::rocksdb::Error> {
        let cache = Cache::new_lru_cache(memory.cache_bytes);
        let buffers =
            WriteBufferManager::new_write_buffer_manager_with_cache(memory.write_buffer_bytes, false, cache.clone());
        let mut env = Env::new()?;
        env.set_background_threads(i32::try_from(memory.threads.max(1)).unwrap_or(i32::MAX));
        env.set_high_priority_background_threads(1);
        // Each write-ahead log names the one before it, with its size and last record, and a start
        // replays no log behind a gap. Without this, a log that is gone, or that ends early, left a
        // store with the position of the later logs and without the writes of the earlier one.
        // The binding has no call for this option.
        let checked = Options::default().get_options_from_string("track_and_verify_wals=true")?;
        Ok(Shared { cache, buffers, env, checked, memory: *memory, is_tight: AtomicBool::new(false) })
    }

    /// The cache shrinks for other users of memory of the stores' share, but never below half of
    /// itself: memtables lie in it.
    pub fn shrink_cache(&self, bytes: usize) {
        let whole = self.memory.cache_bytes;
        self.cache.clone().set_capacity(whole.saturating_sub(bytes).max(whole / 2));
        if bytes > whole / 2 && !self.is_tight.swap(true, Ordering::Relaxed) {
            let has = bytes >> 20;
            let share = whole >> 21;
            tracing::warn!(
                code = "HS3005",
                "in-memory stores use {has} MiB, more than the {share} MiB that `memory` of [runtime] leaves for them: raise `memory`, or keep the \
                 stores in RocksDB (kind = \"rocksdb\")"
            );
        }
    }

    /// Settings of a database.
    pub fn database(&self) -> Options {
        let mut options = self.checked.clone();
        self.set_family(&mut options);
        options.set_env(&self.env);
        options.set_write_buffer_manager(&self.buffers);
        options.set_max_background_jobs(2);
        options.set_max_open_files(128);
        options.set_max_total_wal_size(16 << 20);
        // After a power loss the log's tail may be torn: what stands before the tear is a whole
        // number of batches.
        options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
        options.set_log_level(LogLevel::Warn);
        options.set_keep_log_file_num(2);
        options.set_max_log_file_size(1 << 20);
        options
    }

    /// Settings of a column family.
    pub fn family(&self) -> Options {
        let mut options = Options::default();
        self.set_family(&mut options);
        options
    }

    fn set_family(&self, options: &mut Options) {
        options.set_write_buffer_size((self.memory.write_buffer_bytes / 3).clamp(1 << 20, 16 << 20));
        options.set_arena_block_size(64 << 10);
        options.set_target_file_size_base(16 << 20);
        options.set_max_bytes_for_level_base(64 << 20);
        options.set_level_compaction_dynamic_level_bytes(true);
        // As Kafka Streams has it: a value is read for each event, and packing it at every flush
        // and compaction costs more processor time than its bytes in the page cache are worth.
        options.set_compression_type(DBCompressionType::None);
        // Most keys that are asked for are new or hot: the memtable's filter spares its skip list,
        // the table's the disk.
        options.set_memtable_whole_key_filtering(true);
        options.set_memtable_prefix_bloom_ratio(0.05);
        options.set_block_based_table_factory(&self.table());
    }

    fn table(&self) -> BlockBasedOptions {
        let mut table = BlockBasedOptions::default();
        table.set_block_cache(&self.cache);
        table.set_cache_index_and_filter_blocks(true);
        table.set_pin_l0_filter_and_index_blocks_in_cache(true);
        table.set_bloom_filter(10.0, false);
        table.set_optimize_filters_for_memory(true);
        table.set_data_block_index_type(DataBlockIndexType::BinaryAndHash);
        table.set_block_size(8 << 10);
        // From version 6 on the footer has a checksum as well, and that of a block counts its
        // place.
        table.set_format_version(6);
        table
    }
}
