-- Transactions as they are reported, one row for each (topic reports.regulator).
CREATE TABLE IF NOT EXISTS regulatory_records
(
    kafka_partition Int32,
    row_begin Int64 EPHEMERAL,
    row_end Int64 EPHEMERAL,
    kafka_offset Int64 DEFAULT row_begin + throwIf(row_begin != row_end, 'row out of step') CODEC(Delta, ZSTD),
    kafka_time DateTime64(3, 'UTC') CODEC(Delta, ZSTD),

    record_id String,
    agent_id LowCardinality(String),
    operator LowCardinality(String),
    operator_regulator_id LowCardinality(String),
    cl_ord_id String,
    order_id String,
    exec_id String,
    event LowCardinality(String),
    symbol LowCardinality(String),
    dti LowCardinality(String),
    mic LowCardinality(String),
    side LowCardinality(String),
    quantity Decimal(38, 17),
    price Decimal(38, 13),
    currency LowCardinality(String),
    value Decimal(38, 5),
    remaining Decimal(38, 17),
    trading_capacity LowCardinality(String),
    approval_partition Int32,
    approval_log_index Int64,
    policy_sha256 String,
    approved_at DateTime64(6, 'UTC'),
    executed_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD),
    findings Array(String),

    INDEX executed_at executed_at TYPE minmax,
    INDEX agent_id agent_id TYPE set(100)
)
ENGINE = MergeTree
ORDER BY (kafka_partition, kafka_offset)
SETTINGS
    non_replicated_deduplication_window = 10000,
    fsync_after_insert = 1,
    fsync_part_directory = 1,
    min_bytes_for_wide_part = 268435456;
