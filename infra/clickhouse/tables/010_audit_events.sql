-- One row for each leaf of the audit log, in the order of the log. `leaf` is the record's value as it stands in the topic,
-- so the log can be proven from this table alone; every other column is what the leaf says.
--
-- Rows arrive as Avro (see streams/warehouse/rows.py). An AuditEvent holds its Verdict, and that its Order, as Avro bytes; the
-- reader unfolds them in the same pass, under dotted names that exist during the insert only (EPHEMERAL). A row begins and ends
-- with its offset: bytes that were read out of step are refused, not stored.
--
-- Texts are read as plain ones, and made LowCardinality afterwards, a column at a time: that halves the cost of an insert.
-- Blocks of up to 256 MB become compact parts, one file for all columns, for the same reason.
--
-- No PARTITION BY: a block must become one part, as only then it is stored whole or not at all.
CREATE TABLE IF NOT EXISTS audit_events
(
    kafka_partition Int32,
    row_begin Int64 EPHEMERAL,
    row_end Int64 EPHEMERAL,
    kafka_offset Int64 DEFAULT row_begin + throwIf(row_begin != row_end, 'row out of step') CODEC(Delta, ZSTD),
    kafka_time DateTime64(3, 'UTC') CODEC(Delta, ZSTD),
    leaf String CODEC(ZSTD),

    -- The event.
    event_type String,
    agent_id String,
    agent_seq Nullable(Int64),
    log_index Int64 CODEC(Delta, ZSTD),
    partition Int32,
    event_time DateTime64(6, 'UTC') CODEC(Delta, ZSTD),
    clock_divergence Int64,
    clock_source String,
    source_topic String,
    source_offset Int64,
    source_time DateTime64(6, 'UTC'),
    subject Nullable(String),
    signer Nullable(String),
    state_before String,
    state_after String,
    authorised_by Nullable(String),
    verified_by String,
    approved_by Nullable(String),
    outcome String,
    details Map(String, String),

    -- Its score, where it explains one.
    `score.ScoreDetail.model` Nullable(String) EPHEMERAL,
    score_model LowCardinality(Nullable(String)) DEFAULT `score.ScoreDetail.model`,
    `score.ScoreDetail.value` Nullable(Float64) EPHEMERAL,
    score_value Nullable(Float64) DEFAULT `score.ScoreDetail.value`,
    `score.ScoreDetail.features` Map(String, Float64) EPHEMERAL,
    score_features Map(String, Float64) DEFAULT `score.ScoreDetail.features`,

    -- The verdict; null where the event is not about an order.
    `verdict.Verdict.cl_ord_id` Nullable(String) EPHEMERAL,
    cl_ord_id Nullable(String) DEFAULT `verdict.Verdict.cl_ord_id`,
    `verdict.Verdict.decision` Nullable(String) EPHEMERAL,
    decision LowCardinality(Nullable(String)) DEFAULT `verdict.Verdict.decision`,
    `verdict.Verdict.reason` Nullable(String) EPHEMERAL,
    reason LowCardinality(Nullable(String)) DEFAULT `verdict.Verdict.reason`,
    `verdict.Verdict.failures` Array(Tuple(reason String, `limit` String, observed String, unit String)) EPHEMERAL,
    failures Array(Tuple(reason String, `limit` String, observed String, unit String)) DEFAULT `verdict.Verdict.failures`,
    `verdict.Verdict.reference.ReferenceUsed.price` Nullable(Decimal(38, 13)) EPHEMERAL,
    reference_price Nullable(Decimal(38, 13)) DEFAULT `verdict.Verdict.reference.ReferenceUsed.price`,
    `verdict.Verdict.reference.ReferenceUsed.price_time` Nullable(DateTime64(6, 'UTC')) EPHEMERAL,
    reference_price_time Nullable(DateTime64(6, 'UTC')) DEFAULT `verdict.Verdict.reference.ReferenceUsed.price_time`,
    `verdict.Verdict.reference.ReferenceUsed.partition` Nullable(Int32) EPHEMERAL,
    reference_partition Nullable(Int32) DEFAULT `verdict.Verdict.reference.ReferenceUsed.partition`,
    `verdict.Verdict.reference.ReferenceUsed.offset` Nullable(Int64) EPHEMERAL,
    reference_offset Nullable(Int64) DEFAULT `verdict.Verdict.reference.ReferenceUsed.offset`,
    `verdict.Verdict.order_value` Nullable(Decimal(38, 5)) EPHEMERAL,
    order_value Nullable(Decimal(38, 5)) DEFAULT `verdict.Verdict.order_value`,
    `verdict.Verdict.daily_value` Nullable(Decimal(38, 5)) EPHEMERAL,
    daily_value Nullable(Decimal(38, 5)) DEFAULT `verdict.Verdict.daily_value`,
    `verdict.Verdict.score` Nullable(Float64) EPHEMERAL,
    score Nullable(Float64) DEFAULT `verdict.Verdict.score`,
    `verdict.Verdict.request_partition` Nullable(Int32) EPHEMERAL,
    request_partition Nullable(Int32) DEFAULT `verdict.Verdict.request_partition`,
    `verdict.Verdict.request_offset` Nullable(Int64) EPHEMERAL,
    request_offset Nullable(Int64) DEFAULT `verdict.Verdict.request_offset`,
    `verdict.Verdict.request_time` Nullable(DateTime64(6, 'UTC')) EPHEMERAL,
    request_time Nullable(DateTime64(6, 'UTC')) DEFAULT `verdict.Verdict.request_time`,
    `verdict.Verdict.decision_time` Nullable(DateTime64(6, 'UTC')) EPHEMERAL,
    decision_time Nullable(DateTime64(6, 'UTC')) DEFAULT `verdict.Verdict.decision_time`,
    `verdict.Verdict.certificate_sha256` Nullable(String) EPHEMERAL,
    certificate_sha256 Nullable(String) DEFAULT `verdict.Verdict.certificate_sha256`,

    -- What both can hold.
    event_policy_sha256 Nullable(String) EPHEMERAL,
    `verdict.Verdict.policy_sha256` Nullable(String) EPHEMERAL,
    policy_sha256 Nullable(String) DEFAULT coalesce(`verdict.Verdict.policy_sha256`, event_policy_sha256),
    event_signature Nullable(String) EPHEMERAL,
    `verdict.Verdict.signature` Nullable(String) EPHEMERAL,
    signature Nullable(String) DEFAULT coalesce(`verdict.Verdict.signature`, event_signature),

    -- The order.
    `verdict.Verdict.order.orig_cl_ord_id` Nullable(String) EPHEMERAL,
    orig_cl_ord_id Nullable(String) DEFAULT `verdict.Verdict.order.orig_cl_ord_id`,
    `verdict.Verdict.order.msg_type` Nullable(String) EPHEMERAL,
    msg_type LowCardinality(Nullable(String)) DEFAULT `verdict.Verdict.order.msg_type`,
    `verdict.Verdict.order.symbol` Nullable(String) EPHEMERAL,
    symbol LowCardinality(Nullable(String)) DEFAULT `verdict.Verdict.order.symbol`,
    `verdict.Verdict.order.ex_destination` Nullable(String) EPHEMERAL,
    ex_destination LowCardinality(Nullable(String)) DEFAULT `verdict.Verdict.order.ex_destination`,
    `verdict.Verdict.order.region` Nullable(String) EPHEMERAL,
    region LowCardinality(Nullable(String)) DEFAULT `verdict.Verdict.order.region`,
    `verdict.Verdict.order.side` Nullable(String) EPHEMERAL,
    side LowCardinality(Nullable(String)) DEFAULT `verdict.Verdict.order.side`,
    `verdict.Verdict.order.ord_type` Nullable(String) EPHEMERAL,
    ord_type LowCardinality(Nullable(String)) DEFAULT `verdict.Verdict.order.ord_type`,
    `verdict.Verdict.order.time_in_force` Nullable(String) EPHEMERAL,
    time_in_force LowCardinality(Nullable(String)) DEFAULT `verdict.Verdict.order.time_in_force`,
    `verdict.Verdict.order.order_qty` Nullable(Decimal(38, 17)) EPHEMERAL,
    order_qty Nullable(Decimal(38, 17)) DEFAULT `verdict.Verdict.order.order_qty`,
    `verdict.Verdict.order.price` Nullable(Decimal(38, 13)) EPHEMERAL,
    price Nullable(Decimal(38, 13)) DEFAULT `verdict.Verdict.order.price`,
    `verdict.Verdict.order.transact_time` Nullable(DateTime64(6, 'UTC')) EPHEMERAL,
    transact_time Nullable(DateTime64(6, 'UTC')) DEFAULT `verdict.Verdict.order.transact_time`,
    `verdict.Verdict.order.expire_time` Nullable(DateTime64(6, 'UTC')) EPHEMERAL,
    expire_time Nullable(DateTime64(6, 'UTC')) DEFAULT `verdict.Verdict.order.expire_time`,

    INDEX event_time event_time TYPE minmax,
    INDEX agent_id agent_id TYPE set(100),
    INDEX cl_ord_id cl_ord_id TYPE bloom_filter
)
ENGINE = MergeTree
ORDER BY (kafka_partition, kafka_offset)
SETTINGS
    non_replicated_deduplication_window = 10000,
    fsync_after_insert = 1,
    fsync_part_directory = 1,
    min_bytes_for_wide_part = 268435456;
