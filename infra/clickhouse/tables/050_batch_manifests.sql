-- Announcements of report batches (topic reports.regulator).
CREATE TABLE IF NOT EXISTS batch_manifests
(
    kafka_partition Int32,
    row_begin Int64 EPHEMERAL,
    row_end Int64 EPHEMERAL,
    kafka_offset Int64 DEFAULT row_begin + throwIf(row_begin != row_end, 'row out of step') CODEC(Delta, ZSTD),
    kafka_time DateTime64(3, 'UTC') CODEC(Delta, ZSTD),

    batch_id String,
    range_from DateTime64(6, 'UTC'),
    range_to DateTime64(6, 'UTC'),
    records Int64,
    manifest String CODEC(ZSTD),
    signature String
)
ENGINE = MergeTree
ORDER BY (kafka_partition, kafka_offset)
SETTINGS
    non_replicated_deduplication_window = 10000,
    fsync_after_insert = 1,
    fsync_part_directory = 1,
    min_bytes_for_wide_part = 268435456;
