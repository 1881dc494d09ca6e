-- The last record stored of each partition: where the sink goes on. Not a table of its own, as no transaction could keep it
-- in step with the rows.
CREATE VIEW IF NOT EXISTS positions AS
SELECT topic, kafka_partition, max(kafka_offset) AS last_offset, count() AS stored
FROM
(
    SELECT 'audit.events' AS topic, kafka_partition, kafka_offset FROM audit_events
    UNION ALL SELECT 'audit.checkpoints', kafka_partition, kafka_offset FROM audit_checkpoints
    UNION ALL SELECT 'trades.executed', kafka_partition, kafka_offset FROM executions
    UNION ALL SELECT 'reports.regulator', kafka_partition, kafka_offset FROM regulatory_records
    UNION ALL SELECT 'reports.regulator', kafka_partition, kafka_offset FROM batch_manifests
    UNION ALL SELECT 'risk.alerts', kafka_partition, kafka_offset FROM alerts
    UNION ALL SELECT 'risk.circuit-breakers', kafka_partition, kafka_offset FROM breaker_events
    UNION ALL SELECT topic, kafka_partition, kafka_offset FROM unreadable_records
)
GROUP BY topic, kafka_partition;
