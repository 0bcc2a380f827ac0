variable "name" {
  description = "Deployed name of the queue; its dead-letter queue is called {name}-dlq."
  type        = string
}

variable "visibility_timeout_s" {
  description = "Seconds a received message stays hidden: at least six times the consumer's timeout, so that retries do not overlap."
  type        = number

  validation {
    condition     = var.visibility_timeout_s <= 43200
    error_message = "SQS hides a message for twelve hours at most."
  }
}

variable "retention_s" {
  description = "Seconds a message is kept, in the queue and in its dead-letter queue."
  type        = number

  validation {
    condition     = var.retention_s >= 60 && var.retention_s <= 1209600
    error_message = "SQS keeps messages between a minute and 14 days."
  }
}

variable "max_receives" {
  description = "Receives before a message goes to the dead-letter queue."
  type        = number

  validation {
    condition     = var.max_receives >= 5
    error_message = "With fewer than five receives, throttling alone sends good messages to the dead-letter queue."
  }
}

variable "topic_arns" {
  description = "Topics that feed the queue."
  type        = list(string)
  default     = []
}

variable "require_tls" {
  description = "Refuse plain HTTP; only an emulator goes without."
  type        = bool
  default     = true
}

variable "kms_key_arn" {
  description = "Customer managed key; null: keys that SQS manages."
  type        = string
  default     = null
}
