-- Records of any topic above that its table cannot hold: another schema, broken bytes, no value. Nothing read vanishes.
CREATE TABLE IF NOT EXISTS unreadable_records
(
    topic LowCardinality(String),
    kafka_partition Int32,
    row_begin Int64 EPHEMERAL,
    row_end Int64 EPHEMERAL,
    kafka_offset Int64 DEFAULT row_begin + throwIf(row_begin != row_end, 'row out of step') CODEC(Delta, ZSTD),
    kafka_time DateTime64(3, 'UTC') CODEC(Delta, ZSTD),

    key Nullable(String),
    value Nullable(String),
    error String
)
ENGINE = MergeTree
ORDER BY (topic, kafka_partition, kafka_offset)
SETTINGS
    non_replicated_deduplication_window = 10000,
    fsync_after_insert = 1,
    fsync_part_directory = 1,
    min_bytes_for_wide_part = 268435456;
