variable "stack" {
  description = "Prefix of every name; bucket names are global, so it must be nobody else's."
  type        = string
}

variable "buckets" {
  description = "The buckets of the topology, or of the deployment itself."
  type = list(object({
    name                   = string
    versioned              = bool
    notify_topic           = optional(string)
    expire_days            = optional(number)
    noncurrent_expire_days = optional(number)
    noncurrent_keep        = optional(number)
    abort_incomplete_days  = optional(number)
  }))
}

variable "topic_arns" {
  description = "Topics for new objects, by logical name."
  type        = map(string)
  default     = {}
}

variable "abort_uploads_after_days" {
  description = "Days after which the parts of an unfinished upload go, where a bucket does not say."
  type        = number
  default     = 7
}

variable "access_log_bucket" {
  description = "Bucket for S3's own access logs, which must allow them; null: none are kept."
  type        = string
  default     = null
}

variable "force_destroy" {
  description = "Let terraform destroy buckets with objects in them: for stacks that are thrown away."
  type        = bool
  default     = false
}

variable "require_tls" {
  description = "Refuse plain HTTP; only an emulator goes without."
  type        = bool
  default     = true
}

variable "kms_key_arn" {
  description = "Customer managed key; null: keys that S3 manages."
  type        = string
  default     = null
}
