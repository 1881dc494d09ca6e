-- Every check that an order failed, one row each, in the order of the checks; the first is the verdict's reason.
CREATE VIEW IF NOT EXISTS failed_checks AS
SELECT
    kafka_partition AS log,
    log_index,
    agent_id,
    cl_ord_id,
    symbol,
    decision_time,
    place,
    failure.1 AS reason,
    failure.2 AS `limit`,
    failure.3 AS observed,
    failure.4 AS unit
FROM audit_events
ARRAY JOIN failures AS failure, arrayEnumerate(failures) AS place;
