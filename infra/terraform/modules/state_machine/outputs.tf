output "arns" {
  description = "ARNs by logical name."
  value       = { for name, machine in aws_sfn_state_machine.this : name => machine.arn }
}
