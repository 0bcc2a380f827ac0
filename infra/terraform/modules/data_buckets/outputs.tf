output "names" {
  description = "Deployed names by logical name."
  value       = { for name, bucket in aws_s3_bucket.this : name => bucket.id }
}

output "arns" {
  description = "ARNs by logical name."
  value       = { for name, bucket in aws_s3_bucket.this : name => bucket.arn }
}
