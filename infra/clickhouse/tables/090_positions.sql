-- The last record that each table has of each partition. The sink goes on after the last in any table. A table of offsets
-- beside the rows would not do, as no transaction could keep it in step with them.
CREATE VIEW IF NOT EXISTS positions AS
SELECT table_name, topic, kafka_partition, max(kafka_offset) AS last_offset, count() AS stored
FROM
(
    SELECT 'unreadable_records' AS table_name, topic, kafka_partition, kafka_offset FROM unreadable_records
    UNION ALL SELECT 'audit_events', 'audit.events', kafka_partition, kafka_offset FROM audit_events
    UNION ALL SELECT 'audit_checkpoints', 'audit.checkpoints', kafka_partition, kafka_offset FROM audit_checkpoints
    UNION ALL SELECT 'executions', 'trades.executed', kafka_partition, kafka_offset FROM executions
    UNION ALL SELECT 'regulatory_records', 'reports.regulator', kafka_partition, kafka_offset FROM regulatory_records
    UNION ALL SELECT 'batch_manifests', 'reports.regulator', kafka_partition, kafka_offset FROM batch_manifests
    UNION ALL SELECT 'alerts', 'risk.alerts', kafka_partition, kafka_offset FROM alerts
    UNION ALL SELECT 'breaker_events', 'risk.circuit-breakers', kafka_partition, kafka_offset FROM breaker_events
)
GROUP BY table_name, topic, kafka_partition;
