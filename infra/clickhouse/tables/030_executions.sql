-- What venues did with approved orders (topic trades.executed).
CREATE TABLE IF NOT EXISTS executions
(
    kafka_partition Int32,
    row_begin Int64 EPHEMERAL,
    row_end Int64 EPHEMERAL,
    kafka_offset Int64 DEFAULT row_begin + throwIf(row_begin != row_end, 'row out of step') CODEC(Delta, ZSTD),
    kafka_time DateTime64(3, 'UTC') CODEC(Delta, ZSTD),

    agent_id LowCardinality(String),
    exec_id String,
    order_id String,
    cl_ord_id String,
    exec_type LowCardinality(String),
    symbol LowCardinality(String),
    side LowCardinality(String),
    last_qty Decimal(38, 17),
    last_px Decimal(38, 13),
    cum_qty Decimal(38, 17),
    leaves_qty Decimal(38, 17),
    last_mkt LowCardinality(String),
    counterparty Nullable(String),
    transact_time DateTime64(6, 'UTC') CODEC(Delta, ZSTD),

    INDEX transact_time transact_time TYPE minmax,
    INDEX agent_id agent_id TYPE set(100)
)
ENGINE = MergeTree
ORDER BY (kafka_partition, kafka_offset)
SETTINGS
    non_replicated_deduplication_window = 10000,
    fsync_after_insert = 1,
    fsync_part_directory = 1,
    min_bytes_for_wide_part = 268435456;
