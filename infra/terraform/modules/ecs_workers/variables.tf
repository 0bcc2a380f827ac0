variable "stack" {
  description = "Prefix of every name."
  type        = string
}

variable "services" {
  description = "Services that run as workers; cpu in Fargate's units (1024 is one), sizes in MB and GiB."
  type = map(object({
    tasks                 = optional(number, 1)
    cpu                   = optional(number, 1024)
    memory_mb             = optional(number, 4096)
    ephemeral_storage_gib = optional(number, 21)
  }))

  validation {
    condition = alltrue([
      for service in values(var.services) : contains(try(local.memory_mb[tostring(service.cpu)], []), service.memory_mb)
    ])
    error_message = "ecs_workers.services: Fargate has no task with this cpu and memory_mb; with cpu 2048, for instance, memory_mb is a multiple of 1024 from 4096 to 16384."
  }

  validation {
    condition     = alltrue([for service in values(var.services) : service.ephemeral_storage_gib >= 21 && service.ephemeral_storage_gib <= 200])
    error_message = "ecs_workers.services: Fargate gives between 21 and 200 GiB of ephemeral storage."
  }
}

variable "image" {
  description = "The container image of docs/packages.md."
  type        = string
  default     = null

  validation {
    condition     = length(var.services) == 0 || var.image != null
    error_message = "ecs_workers.image is needed where services run as workers."
  }
}

variable "subnet_ids" {
  description = "Private subnets with a way to AWS and to the sources."
  type        = list(string)

  validation {
    condition     = length(var.services) == 0 || length(var.subnet_ids) > 0
    error_message = "ecs_workers.subnet_ids is needed where services run as workers."
  }
}

variable "vpc_id" {
  description = "VPC of the subnets."
  type        = string
  default     = null
}

variable "policies" {
  description = "What each service may do beyond reading its queues."
  type        = map(string)
}

variable "environments" {
  description = "Settings of each service."
  type        = map(map(string))
}

variable "queue_arns" {
  description = "Queues that each service reads."
  type        = map(list(string))
}

variable "architecture" {
  description = "x86_64 or arm64, as the image was built."
  type        = string
}

variable "log_retention_days" {
  description = "Days the logs are kept."
  type        = number
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
