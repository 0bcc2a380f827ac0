SELECT
  date_diff('day', CAST("${cursor}" AS date), CAST(regexp_extract("$path", '${run_date}', 1) AS date)) AS delay_days,
  count(*) AS record_count
FROM "${table}"
GROUP BY 1
ORDER BY delay_days DESC
