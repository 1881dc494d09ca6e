-- Signed checkpoints of the audit logs. `note` is the record's value as it stands in the topic; origin, size and root are what
-- it says, unverified: whoever reads them verifies the note.
CREATE TABLE IF NOT EXISTS audit_checkpoints
(
    kafka_partition Int32,
    row_begin Int64 EPHEMERAL,
    row_end Int64 EPHEMERAL,
    kafka_offset Int64 DEFAULT row_begin + throwIf(row_begin != row_end, 'row out of step') CODEC(Delta, ZSTD),
    kafka_time DateTime64(3, 'UTC') CODEC(Delta, ZSTD),

    note String CODEC(ZSTD),
    origin LowCardinality(String),
    tree_size Int64 CODEC(Delta, ZSTD),
    root FixedString(32)
)
ENGINE = MergeTree
ORDER BY (kafka_partition, kafka_offset)
SETTINGS
    non_replicated_deduplication_window = 10000,
    fsync_after_insert = 1,
    fsync_part_directory = 1,
    min_bytes_for_wide_part = 268435456;
