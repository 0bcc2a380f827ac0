output "services" {
  description = "Names of the ECS services, by service."
  value       = { for service, deployed in aws_ecs_service.this : service => deployed.name }
}

output "log_groups" {
  description = "Names of the log groups, by service."
  value       = { for service, group in aws_cloudwatch_log_group.this : service => group.name }
}
