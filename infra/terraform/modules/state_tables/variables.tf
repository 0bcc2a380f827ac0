variable "stack" {
  description = "Prefix of every name."
  type        = string
}

variable "tables" {
  description = "The tables of the topology."
  type = list(object({
    name          = string
    partition_key = object({ name = string, type = string })
    sort_key      = optional(object({ name = string, type = string }))
    ttl_attribute = optional(string)
  }))
}

variable "deletion_protection" {
  description = "Refuse to delete a table until this is turned off."
  type        = bool
}

variable "point_in_time_recovery" {
  description = "Keep 35 days of continuous backups."
  type        = bool
  default     = true
}

variable "kms_key_arn" {
  description = "Customer managed key; null: the key that AWS owns."
  type        = string
  default     = null
}
