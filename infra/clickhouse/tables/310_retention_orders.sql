-- Who ordered for how long a bot's records are kept, and legal holds: appended, never changed; the last of each bot counts.
CREATE TABLE IF NOT EXISTS retention_orders
(
    agent_id String,
    years UInt8 DEFAULT 5,
    held Bool DEFAULT false,
    ordered_by String,
    reason String,
    ordered_at DateTime64(6, 'UTC') DEFAULT now64(6, 'UTC'),
    CONSTRAINT named CHECK notEmpty(agent_id) AND notEmpty(ordered_by) AND notEmpty(reason),
    CONSTRAINT at_least_five CHECK years >= 5
)
ENGINE = MergeTree
ORDER BY (agent_id, ordered_at)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;
