variable "stack" {
  description = "Prefix of every name."
  type        = string
}

variable "publisher_accounts" {
  description = "Other accounts whose buckets publish to topics under the key."
  type        = list(string)
  default     = []
}
