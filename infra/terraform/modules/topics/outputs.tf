output "arns" {
  description = "ARNs by logical name, once the topics may be published to."
  value       = { for name, topic in aws_sns_topic.this : name => topic.arn }
  depends_on  = [aws_sns_topic_policy.this]
}
