variable "name" {
  description = "Name of the function, its role and its log group."
  type        = string
}

variable "service" {
  description = "Name of the service, as its metrics and traces show it."
  type        = string
}

variable "handler" {
  description = "Python path of the handler."
  type        = string
}

variable "package" {
  description = "Where the code lies, and its digest (base64 of SHA-256)."
  type        = object({ bucket = string, key = string, version = string, hash = string })
}

variable "layers" {
  description = "ARNs of the layer versions, at most five."
  type        = list(string)

  validation {
    condition     = length(var.layers) <= 5
    error_message = "A function takes at most five layers."
  }
}

variable "queues" {
  description = "The queues it reads, by logical name; times in seconds."
  type = map(object({
    arn                 = string
    timeout_s           = number
    batch_size          = number
    batch_window_s      = number
    maximum_concurrency = number
  }))

  validation {
    condition     = length(var.queues) > 0 && alltrue([for queue in values(var.queues) : queue.timeout_s <= 900])
    error_message = "A service reads at least one queue, and Lambda ends what takes longer than 900 s."
  }

  validation {
    condition     = alltrue([for queue in values(var.queues) : queue.batch_size <= 10 || queue.batch_window_s >= 1])
    error_message = "Batches of more than 10 messages need a window of at least 1 s."
  }
}

variable "policy_json" {
  description = "What this service may do beyond reading its queues, logging and tracing."
  type        = string
}

variable "environment" {
  description = "Its settings, by the names that its config.py reads; no secrets."
  type        = map(string)
}

variable "log_level" {
  description = "DEBUG, INFO, WARNING or ERROR."
  type        = string
}

variable "log_retention_days" {
  description = "Days its logs are kept."
  type        = number
}

variable "memory_mb" {
  description = "Memory, with which the share of a processor grows."
  type        = number

  validation {
    condition     = var.memory_mb >= 128 && var.memory_mb <= 10240
    error_message = "Lambda gives between 128 MB and 10240 MB."
  }
}

variable "ephemeral_storage_mb" {
  description = "Size of /tmp."
  type        = number

  validation {
    condition     = var.ephemeral_storage_mb >= 512 && var.ephemeral_storage_mb <= 10240
    error_message = "Lambda gives between 512 MB and 10240 MB."
  }
}

variable "reserved_concurrency" {
  description = "Concurrency taken out of the account's for this function; -1: none."
  type        = number
  default     = -1
}

variable "enabled" {
  description = "Read the queues; false where workers do."
  type        = bool
  default     = true
}

variable "after" {
  description = "ARNs of what must be there before the first message is read."
  type        = list(string)
  default     = []
}

variable "runtime" {
  description = "Lambda runtime."
  type        = string
}

variable "architecture" {
  description = "x86_64 or arm64, as the packages were built."
  type        = string
}

variable "vpc" {
  description = "Where it runs if it talks to databases; no subnets: outside any VPC."
  type        = object({ subnet_ids = list(string), security_group_ids = list(string) })
  default     = { subnet_ids = [], security_group_ids = [] }
}

variable "kms_key_arn" {
  description = "Customer managed key; null: none."
  type        = string
  default     = null
}

variable "other_key_arns" {
  description = "Keys of others, under which secrets or somebody else's buckets lie."
  type        = list(string)
  default     = []
}

variable "emulated" {
  description = "The stack is on the emulator, which asks for actions of batches that AWS does not have."
  type        = bool
  default     = false
}
