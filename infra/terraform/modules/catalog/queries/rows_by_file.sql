SELECT "$path" AS file, count(*) AS record_count, min("${order_by}") AS earliest, max("${order_by}") AS latest
FROM "${table}"
GROUP BY "$path"
ORDER BY file DESC
