SELECT ingestion_date, load_type, count(*) AS record_count
FROM "${table}"
GROUP BY ingestion_date, load_type
ORDER BY ingestion_date DESC, load_type
