SELECT ${columns}, count(*) AS record_count
FROM "${table}"
GROUP BY ${columns}
HAVING count(*) > 1
