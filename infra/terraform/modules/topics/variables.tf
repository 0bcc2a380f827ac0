variable "stack" {
  description = "Prefix of every name."
  type        = string
}

variable "topics" {
  description = "Logical names, each with the buckets that announce their new objects there."
  type        = map(object({ bucket_arns = list(string) }))
}

variable "publisher_accounts" {
  description = "Other accounts that some of the buckets belong to."
  type        = list(string)
  default     = []
}

variable "require_tls" {
  description = "Refuse plain HTTP; only an emulator goes without."
  type        = bool
  default     = true
}

variable "kms_key_arn" {
  description = "Customer managed key; null: none, because S3 cannot publish to a topic under the key that SNS manages."
  type        = string
  default     = null
}
