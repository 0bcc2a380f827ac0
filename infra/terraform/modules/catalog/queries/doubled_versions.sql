SELECT _ingestion_id, _record_hash, count(*) AS record_count
FROM "${table}"
GROUP BY _ingestion_id, _record_hash
HAVING count(*) > 1
