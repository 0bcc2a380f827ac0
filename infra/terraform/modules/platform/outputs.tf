output "lambda_function_names" {
  description = "Names of the functions, by service."
  value       = { for service, function in module.services : service => function.name }
}

output "lambda_function_arns" {
  description = "ARNs of the functions, by service."
  value       = { for service, function in module.services : service => function.arn }
}

output "layer_arns" {
  description = "Versions of the layers in use, by layer."
  value       = module.layers.arns
}

output "all_layer_arns" {
  description = "The same as a list: what another stack takes as external_layer_arns."
  value       = sort(values(module.layers.arns))
}

output "queue_urls" {
  description = "URLs of the queues, by logical name."
  value       = { for name, queue in module.queues : name => queue.url }
}

output "dlq_names" {
  description = "Deployed names of the dead-letter queues, by the queue they belong to."
  value       = { for name, queue in module.queues : name => queue.dlq_name }
}

output "topic_arns" {
  description = "ARNs of the topics, by logical name."
  value       = module.topics.arns
}

output "table_names" {
  description = "Deployed names of the tables, by logical name."
  value       = module.tables.names
}

output "bucket_names" {
  description = "Deployed names of the buckets, by logical name."
  value       = merge(module.buckets.names, module.own_buckets.names)
}

output "state_machine_arns" {
  description = "ARNs of the state machines, by logical name."
  value       = module.state_machines.arns
}

output "athena_workgroup" {
  description = "Workgroup for queries on the catalogue's tables."
  value       = module.catalog.workgroup
}

output "alarm_topic_arn" {
  description = "Topic that every alarm goes to."
  value       = module.observability.alarm_topic_arn
}

output "dashboard" {
  description = "Name of the CloudWatch dashboard."
  value       = module.observability.dashboard
}
