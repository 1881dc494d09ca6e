-- The life of one order: SELECT * FROM order_life(agent_id = 'bot', cl_ord_id = 'id') ORDER BY at, step. Without a bot ('')
-- of every bot that has used the identifier. `log` and `place` say where each step stands: leaf index for steps of the audit
-- log, offset for records of topics.
CREATE VIEW IF NOT EXISTS order_life AS
WITH
    orders AS
    (
        SELECT * FROM audit_events
        WHERE cl_ord_id = {cl_ord_id:String} AND ({agent_id:String} = '' OR agent_id = {agent_id:String})
    ),
    trades AS
    (
        SELECT * FROM executions
        WHERE cl_ord_id = {cl_ord_id:String} AND ({agent_id:String} = '' OR agent_id = {agent_id:String})
    ),
    records AS
    (
        SELECT * FROM regulatory_records
        WHERE cl_ord_id = {cl_ord_id:String} AND ({agent_id:String} = '' OR agent_id = {agent_id:String})
    )
SELECT agent_id, assumeNotNull(request_time) AS at, 1 AS step, 'requested' AS what, kafka_partition AS log,
    source_offset AS place, concat(msg_type, ' ', side, ' ', toString(order_qty), ' ', symbol, ' ', ord_type, ' ',
    ifNull(toString(price), '')) AS text
FROM orders
UNION ALL
SELECT agent_id, assumeNotNull(decision_time), 2, 'check failed', kafka_partition, log_index,
    concat(failure.1, ': limit ', failure.2, ', observed ', failure.3, ' ', failure.4)
FROM orders ARRAY JOIN failures AS failure
UNION ALL
SELECT agent_id, assumeNotNull(decision_time), 3, 'decided', kafka_partition, log_index,
    concat(decision, ' ', reason, ', state ', state_before, ' to ', state_after, ', score ', ifNull(toString(score), 'none'),
    ', policy ', lower(hex(ifNull(policy_sha256, ''))), ', verified by ', verified_by)
FROM orders
UNION ALL
SELECT agent_id, min(kafka_time), 4, 'proven', kafka_partition, min(tree_size),
    concat('under the checkpoint of size ', toString(min(tree_size)), ' of ', any(origin))
FROM audit_checkpoints
INNER JOIN (SELECT agent_id, kafka_partition, log_index FROM orders) AS logged USING (kafka_partition)
WHERE tree_size > logged.log_index
GROUP BY agent_id, kafka_partition, logged.log_index
UNION ALL
SELECT agent_id, transact_time, 5, 'traded', kafka_partition, kafka_offset,
    concat(exec_type, ' ', exec_id, ': ', toString(last_qty), ' at ', toString(last_px), ' on ', last_mkt)
FROM trades
UNION ALL
SELECT audit_events.agent_id, event_time, 6, 'trade logged', kafka_partition, log_index, outcome
FROM audit_events
INNER JOIN (SELECT kafka_partition, kafka_offset AS source_offset FROM trades) AS traded USING (kafka_partition, source_offset)
WHERE event_type = 'TRADE_EXECUTED'
UNION ALL
SELECT agent_id, executed_at, 7, 'recorded', kafka_partition, kafka_offset,
    concat(event, ' ', record_id, if(empty(findings), '', concat(': ', arrayStringConcat(findings, '; '))))
FROM records
UNION ALL
SELECT agent_id, batch_manifests.kafka_time, 8, 'reported', batch_manifests.kafka_partition, batch_manifests.kafka_offset,
    concat('batch ', batch_id, ' for ', toString(range_from), ' to ', toString(range_to))
FROM batch_manifests CROSS JOIN (SELECT DISTINCT agent_id, assumeNotNull(decision_time) AS decided FROM orders) AS decided
WHERE range_from <= decided.decided AND decided.decided < range_to;
