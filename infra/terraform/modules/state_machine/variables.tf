variable "stack" {
  description = "Prefix of every name."
  type        = string
}

variable "state_machines" {
  description = "The state machines of the topology; definition is a file of this folder."
  type        = list(object({ name = string, pipeline = string, definition = string, queue = string }))
}

variable "queues" {
  description = "Queues by logical name."
  type        = map(object({ arn = string, url = string }))
}

variable "log_retention_days" {
  description = "Days the logs of executions are kept."
  type        = number
}

variable "kms_key_arn" {
  description = "Customer managed key of the queues; null: none."
  type        = string
  default     = null
}
