-- Events older than their bot's retention and under no hold: the only rows that an administrator may ever delete. Longer
-- retention and holds are what was ordered at any time: an order lengthens, a later one never shortens; a hold ends with the
-- last order that says so. Without orders: 5 years.
CREATE VIEW IF NOT EXISTS expired_events AS
SELECT kafka_partition, kafka_offset, agent_id, event_time
FROM audit_events
LEFT JOIN
(
    SELECT agent_id, max(years) AS kept_years, argMax(held, ordered_at) AS is_held FROM retention_orders GROUP BY agent_id
) AS orders USING (agent_id)
WHERE event_time < now64(6, 'UTC') - toIntervalDay(366 * greatest(orders.kept_years, 5)) AND NOT orders.is_held;
