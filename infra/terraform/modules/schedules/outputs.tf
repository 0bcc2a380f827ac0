output "arns" {
  description = "ARNs by logical name."
  value       = { for name, schedule in aws_scheduler_schedule.this : name => schedule.arn }
}

output "dlq_name" {
  description = "Deployed name of the queue for commands that could not be delivered."
  value       = aws_sqs_queue.dropped.name
}
