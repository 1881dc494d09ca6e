-- Changes of circuit breakers (topic risk.circuit-breakers).
CREATE TABLE IF NOT EXISTS breaker_events
(
    kafka_partition Int32,
    row_begin Int64 EPHEMERAL,
    row_end Int64 EPHEMERAL,
    kafka_offset Int64 DEFAULT row_begin + throwIf(row_begin != row_end, 'row out of step') CODEC(Delta, ZSTD),
    kafka_time DateTime64(3, 'UTC') CODEC(Delta, ZSTD),

    event_id String,
    scope LowCardinality(String),
    target LowCardinality(String),
    previous LowCardinality(String),
    state LowCardinality(String),
    reason LowCardinality(String),
    score Nullable(Float64),
    threshold Nullable(Float64),
    features Map(String, Float64),
    issued_by LowCardinality(String),
    event_time DateTime64(6, 'UTC') CODEC(Delta, ZSTD)
)
ENGINE = MergeTree
ORDER BY (kafka_partition, kafka_offset)
SETTINGS
    non_replicated_deduplication_window = 10000,
    fsync_after_insert = 1,
    fsync_part_directory = 1,
    min_bytes_for_wide_part = 268435456;
