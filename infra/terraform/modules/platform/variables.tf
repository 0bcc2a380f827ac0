variable "stack" {
  description = "Prefix of every name. Bucket names are global, so it must be nobody else's: acme-tidegate-staging, say."
  type        = string

  validation {
    # IAM ends names of roles at 64 characters, and the longest puts 31 behind this.
    condition     = can(regex("^[a-z][a-z0-9-]{1,31}$", var.stack))
    error_message = "stack: a lower-case letter, then 1 to 31 lower-case letters, digits and hyphens."
  }
}

variable "project_dir" {
  description = "Folder that holds contracts/ and pipelines/; null: the one this module lies in."
  type        = string
  default     = null
}

variable "packages_dir" {
  description = "Folder that `make package` fills; null: dist/ of the project."
  type        = string
  default     = null

  validation {
    condition     = fileexists("${coalesce(var.packages_dir, "${coalesce(var.project_dir, "${path.module}/../../../..")}/dist")}/sizes.json")
    error_message = "There is no sizes.json in the folder of packages: run `make package` first."
  }
}

variable "optional_layers" {
  description = "Layers for sources that not every stack has, snowflake for instance."
  type        = list(string)
  default     = []
}

variable "reuse_existing_layers" {
  description = "Keep a published layer version while its content is the same; false: publish anew with every apply."
  type        = bool
  default     = true
}

variable "use_external_layer_arns" {
  description = "Publish no layers; take external_layer_arns."
  type        = bool
  default     = false
}

variable "external_layer_arns" {
  description = "Layer versions that another stack has published, exactly one for each layer that the services need."
  type        = list(string)
  default     = []
}

variable "force_layer_update" {
  description = "Publish every layer anew with this apply, even if its content is the same."
  type        = bool
  default     = false
}

variable "log_level" {
  description = "LOG_LEVEL of the services: DEBUG or INFO."
  type        = string
  default     = "INFO"

  validation {
    condition     = contains(["DEBUG", "INFO"], var.log_level)
    error_message = "log_level: DEBUG or INFO; above INFO nobody reports that a run succeeded, which the alarms on watermarks listen for."
  }
}

variable "load_type" {
  description = "LOAD_TYPE: what a load of entities reads if its request does not say."
  type        = string
  default     = "INCREMENTAL"

  validation {
    condition     = contains(["FULL", "INCREMENTAL", "KEYS"], upper(var.load_type))
    error_message = "load_type: FULL, INCREMENTAL or KEYS."
  }
}

variable "socrata_app_token" {
  description = "SOCRATA_APP_TOKEN as secretsmanager:NAME; empty: none, and the source throttles more."
  type        = string
  default     = ""

  validation {
    condition     = var.socrata_app_token == "" || can(regex("^secretsmanager:.+", var.socrata_app_token))
    error_message = "socrata_app_token names a secret (secretsmanager:NAME): the token itself would lie in the state and in the function's settings."
  }
}

variable "secrets" {
  description = "Names or ARNs of secrets, by the variable that a declaration names (RDS_SECRET_ARN, API_KEY_SECRET_ARN, POSTGRES_SECRET_ARN, SNOWFLAKE_SECRET_ARN); those left out are as the declaration says."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for name in keys(var.secrets) : can(regex("^[A-Z][A-Z0-9_]*$", name))])
    error_message = "secrets: keys are names of environment variables."
  }
}

variable "pipeline_variables" {
  description = "Other variables that declarations name, such as PAYMENTS_API_URL and S3_BUCKET_NAME; no secrets."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for name in keys(var.pipeline_variables) : can(regex("^[A-Z][A-Z0-9_]*$", name))])
    error_message = "pipeline_variables: keys are names of environment variables."
  }
}

variable "settings" {
  description = "Settings of one service, by service and variable, as its config.py names them: { merger = { TIDEGATE_LEASE_TTL_S = \"90\" } }."
  type        = map(map(string))
  default     = {}
}

variable "sizes" {
  description = "Memory (MB), /tmp (MB) and reserved concurrency of a service, where they are not to be the usual ones."
  type = map(object({
    memory_mb            = optional(number)
    ephemeral_storage_mb = optional(number)
    reserved_concurrency = optional(number)
  }))
  default = {}
}

variable "vpc" {
  description = "Where services run that talk to databases. The subnets need a way to AWS: a NAT gateway or endpoints."
  type = object({
    services           = optional(list(string), ["planner", "fetcher", "chunk_worker"])
    subnet_ids         = optional(list(string), [])
    security_group_ids = optional(list(string), [])
  })
  default = {}

  validation {
    condition     = (length(var.vpc.subnet_ids) == 0) == (length(var.vpc.security_group_ids) == 0)
    error_message = "vpc: subnets and security groups come together."
  }
}

variable "event_log_bucket" {
  description = "Bucket of somebody else's with event logs that the services read; null: all sources lie in the stack's own."
  type        = string
  default     = null
}

variable "event_log_account" {
  description = "Account that event_log_bucket belongs to; null: this one."
  type        = string
  default     = null

  validation {
    condition     = var.event_log_account == null || can(regex("^[0-9]{12}$", var.event_log_account))
    error_message = "event_log_account: twelve digits."
  }
}

variable "checkpoint_bucket" {
  description = "Bucket of somebody else's that requests may name for a checkpoint; null: none."
  type        = string
  default     = null
}

variable "other_key_arns" {
  description = "Customer managed keys of others, under which secrets or somebody else's buckets lie. Their policies must allow the services, too."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for arn in var.other_key_arns : can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/.+$", arn))])
    error_message = "other_key_arns takes ARNs of keys, not of aliases: arn:aws:kms:REGION:ACCOUNT:key/ID."
  }
}

variable "catalog_files" {
  description = "Files with what `tidegate catalog` printed, one for each pipeline or group that Athena is to see."
  type        = list(string)
  default     = []
}

variable "schedules_enabled" {
  description = "Let the schedules of the topology fire."
  type        = bool
  default     = true
}

variable "deletion_protection" {
  description = "Refuse to delete tables until this is turned off."
  type        = bool
  default     = true
}

variable "point_in_time_recovery" {
  description = "Keep 35 days of continuous backups of the tables."
  type        = bool
  default     = true
}

variable "force_destroy" {
  description = "Let terraform destroy buckets with data in them: for stacks that are thrown away."
  type        = bool
  default     = false
}

variable "customer_managed_key" {
  description = "Make a KMS key and put everything the stack stores under it; false: keys that AWS manages."
  type        = bool
  default     = false
}

variable "require_tls" {
  description = "Refuse plain HTTP; only an emulator goes without."
  type        = bool
  default     = true
}

variable "access_log_bucket" {
  description = "Bucket for S3's access logs; null: none are kept."
  type        = string
  default     = null
}

variable "log_retention_days" {
  description = "Days logs are kept."
  type        = number
  default     = 30

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "log_retention_days: one of the periods that CloudWatch Logs knows (1, 3, 5, 7, 14, 30, 60, 90, …)."
  }
}

variable "alarm_email" {
  description = "Address that alarms are sent to, once it has confirmed; null: none."
  type        = string
  default     = null

  validation {
    condition     = var.alarm_email == null || can(regex("^[^@ ]+@[^@ ]+$", var.alarm_email))
    error_message = "alarm_email: not an address."
  }
}

variable "watermark_max_age_hours" {
  description = "Hours in which a run must succeed before its watermark counts as too old, by pipeline or group; default is for the others."
  type        = map(number)
  default     = { default = 26 }
}

variable "failed_max_percent" {
  description = "Percent of a pipeline's records that may be judged bad."
  type        = number
  default     = 10

  validation {
    condition     = var.failed_max_percent >= 0 && var.failed_max_percent < 100
    error_message = "failed_max_percent: between 0 and 100."
  }
}

variable "oldest_message_max_s" {
  description = "Seconds that a message may wait in any queue; queues whose work takes long allow more."
  type        = number
  default     = 3600
}

variable "ecs_workers" {
  description = "Services that run as workers on Fargate instead of Lambda; none by default."
  type = object({
    services = optional(map(object({
      tasks                 = optional(number, 1)
      cpu                   = optional(number, 1024)
      memory_mb             = optional(number, 4096)
      ephemeral_storage_gib = optional(number, 21)
    })), {})
    image      = optional(string)
    vpc_id     = optional(string)
    subnet_ids = optional(list(string), [])
  })
  default = {}
}

variable "emulated" {
  description = "The stack is on the emulator, which asks for actions of batches that AWS does not have."
  type        = bool
  default     = false
}

variable "maximum_concurrency" {
  description = "Consumers of a queue side by side, at most; a queue that declares fewer has those."
  type        = number
  default     = 1000

  validation {
    condition     = var.maximum_concurrency >= 2 && var.maximum_concurrency <= 1000
    error_message = "maximum_concurrency: Lambda takes 2 to 1000."
  }
}
