variable "stack" {
  description = "Prefix of every name."
  type        = string
}

variable "schedules" {
  description = "The schedules of the topology."
  type = list(object({
    name       = string
    pipeline   = string
    expression = string
    timezone   = string
    queue      = string
  }))
}

variable "queue_arns" {
  description = "Queues by logical name."
  type        = map(string)
}

variable "enabled" {
  description = "Let the schedules fire."
  type        = bool
  default     = true
}

variable "kms_key_arn" {
  description = "Customer managed key of the queues; null: none."
  type        = string
  default     = null
}
