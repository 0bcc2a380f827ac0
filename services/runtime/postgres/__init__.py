"""Reading PostgreSQL: how to reach a database, how names are written in SQL, what its errors mean."""
