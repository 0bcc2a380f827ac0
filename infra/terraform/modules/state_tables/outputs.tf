output "names" {
  description = "Deployed names by logical name."
  value       = { for name, table in aws_dynamodb_table.this : name => table.name }
}

output "arns" {
  description = "ARNs by logical name."
  value       = { for name, table in aws_dynamodb_table.this : name => table.arn }
}
