"""Reading Snowflake: how to reach an account, how slices become SQL, what its errors mean."""
