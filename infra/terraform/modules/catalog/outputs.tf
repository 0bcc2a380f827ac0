output "databases" {
  description = "Names of the Glue databases."
  value       = keys(aws_glue_catalog_database.this)
}

output "workgroup" {
  description = "Athena workgroup for queries on them."
  value       = aws_athena_workgroup.this.name
}
