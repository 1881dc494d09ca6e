-- Every version of each regulatory record, the first as it was reported and each correction after it; `latest` marks the one
-- that counts. A correction is another row: nothing is overwritten.
CREATE VIEW IF NOT EXISTS record_versions AS
SELECT
    *,
    row_number() OVER (PARTITION BY record_id ORDER BY kafka_time, kafka_partition, kafka_offset) AS version,
    version = count() OVER (PARTITION BY record_id) AS latest
FROM regulatory_records;
