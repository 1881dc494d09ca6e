-- Roles for a ClickHouse server, run once by its administrator after the tables are made (the engine in a folder has no
-- users: there, whoever can read the folder can read the data). Nobody is granted ALTER, DELETE, TRUNCATE or DROP: rows are
-- written once. Give the sink a user with the writer's role, and everybody else one with the reader's.

CREATE ROLE IF NOT EXISTS portcullis_writer;
CREATE ROLE IF NOT EXISTS portcullis_reader;
CREATE ROLE IF NOT EXISTS portcullis_records_officer;

GRANT SELECT ON portcullis.* TO portcullis_reader;

GRANT INSERT ON portcullis.audit_events TO portcullis_writer;
GRANT INSERT ON portcullis.audit_checkpoints TO portcullis_writer;
GRANT INSERT ON portcullis.executions TO portcullis_writer;
GRANT INSERT ON portcullis.regulatory_records TO portcullis_writer;
GRANT INSERT ON portcullis.batch_manifests TO portcullis_writer;
GRANT INSERT ON portcullis.alerts TO portcullis_writer;
GRANT INSERT ON portcullis.breaker_events TO portcullis_writer;
GRANT INSERT ON portcullis.unreadable_records TO portcullis_writer;

-- Where each row stands in Kafka, so that the sink knows where to go on. What rows say is not the writer's to read.
GRANT SELECT ON portcullis.positions TO portcullis_writer;
GRANT SELECT(kafka_partition, kafka_offset) ON portcullis.audit_events TO portcullis_writer;
GRANT SELECT(kafka_partition, kafka_offset) ON portcullis.audit_checkpoints TO portcullis_writer;
GRANT SELECT(kafka_partition, kafka_offset) ON portcullis.executions TO portcullis_writer;
GRANT SELECT(kafka_partition, kafka_offset) ON portcullis.regulatory_records TO portcullis_writer;
GRANT SELECT(kafka_partition, kafka_offset) ON portcullis.batch_manifests TO portcullis_writer;
GRANT SELECT(kafka_partition, kafka_offset) ON portcullis.alerts TO portcullis_writer;
GRANT SELECT(kafka_partition, kafka_offset) ON portcullis.breaker_events TO portcullis_writer;
GRANT SELECT(topic, kafka_partition, kafka_offset) ON portcullis.unreadable_records TO portcullis_writer;
-- The names of the columns that an insert may give.
GRANT SHOW COLUMNS ON portcullis.* TO portcullis_writer;

-- Who orders longer retention or a legal hold may append that order and read, nothing else.
GRANT SELECT ON portcullis.* TO portcullis_records_officer;
GRANT INSERT ON portcullis.retention_orders TO portcullis_records_officer;
