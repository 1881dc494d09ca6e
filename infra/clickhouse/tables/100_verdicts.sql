-- Decided orders, for people and dashboards: binary identifiers as hexadecimal text, times taken apart.
CREATE VIEW IF NOT EXISTS verdicts AS
SELECT
    kafka_partition AS log,
    log_index,
    agent_id,
    cl_ord_id,
    orig_cl_ord_id,
    msg_type,
    decision,
    reason,
    symbol,
    ex_destination,
    region,
    side,
    ord_type,
    time_in_force,
    order_qty,
    price,
    order_value,
    daily_value,
    reference_price,
    score,
    transact_time,
    expire_time,
    request_time,
    decision_time,
    dateDiff('microsecond', request_time, decision_time) AS decided_after_us,
    lower(hex(policy_sha256)) AS policy_sha256,
    lower(hex(certificate_sha256)) AS certificate_sha256
FROM audit_events
WHERE decision IS NOT NULL;
