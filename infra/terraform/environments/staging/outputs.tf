output "lambda_function_names" {
  description = "Names of the functions, by service."
  value       = module.tidegate.lambda_function_names
}

output "lambda_function_arns" {
  description = "ARNs of the functions, by service."
  value       = module.tidegate.lambda_function_arns
}

output "layer_arns" {
  description = "Versions of the layers in use, by layer."
  value       = module.tidegate.layer_arns
}

output "all_layer_arns" {
  description = "The same as a list: what the next environment takes as external_layer_arns."
  value       = module.tidegate.all_layer_arns
}

output "queue_urls" {
  description = "URLs of the queues, by logical name."
  value       = module.tidegate.queue_urls
}

output "table_names" {
  description = "Deployed names of the tables, by logical name."
  value       = module.tidegate.table_names
}

output "bucket_names" {
  description = "Deployed names of the buckets, by logical name."
  value       = module.tidegate.bucket_names
}

output "state_machine_arns" {
  description = "ARNs of the state machines, by logical name."
  value       = module.tidegate.state_machine_arns
}

output "alarm_topic_arn" {
  description = "Topic that every alarm goes to."
  value       = module.tidegate.alarm_topic_arn
}

output "dashboard" {
  description = "Name of the CloudWatch dashboard."
  value       = module.tidegate.dashboard
}
