variable "region" {
  description = "AWS region."
  type        = string
}

variable "stack" {
  description = "Prefix of every name; bucket names are global, so it must be nobody else's."
  type        = string
}

variable "packages_dir" {
  description = "Folder that `make package` fills; null: dist/ of the project."
  type        = string
  default     = null
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
  description = "Layer versions that another stack has published (its output all_layer_arns)."
  type        = list(string)
  default     = []
}

variable "force_layer_update" {
  description = "Publish every layer anew with this apply, even if its content is the same."
  type        = bool
  default     = false
}

variable "optional_layers" {
  description = "Layers for sources that not every stack has, snowflake for instance."
  type        = list(string)
  default     = []
}

variable "secrets" {
  description = "Names or ARNs of secrets, by the variable that a declaration names (RDS_SECRET_ARN, …)."
  type        = map(string)
  default     = {}
}

variable "pipeline_variables" {
  description = "Other variables that declarations name (PAYMENTS_API_URL, S3_BUCKET_NAME, …)."
  type        = map(string)
  default     = {}
}

variable "socrata_app_token" {
  description = "secretsmanager:NAME of the application token; empty: none."
  type        = string
  default     = ""
}

variable "event_log_bucket" {
  description = "Bucket of somebody else's with event logs; null: none."
  type        = string
  default     = null
}

variable "event_log_account" {
  description = "Account that event_log_bucket belongs to; null: this one."
  type        = string
  default     = null
}

variable "checkpoint_bucket" {
  description = "Bucket of somebody else's that requests may name for a checkpoint; null: none."
  type        = string
  default     = null
}

variable "other_key_arns" {
  description = "Customer managed keys of others, under which secrets or somebody else's buckets lie."
  type        = list(string)
  default     = []
}

variable "vpc" {
  description = "Subnets and security groups of the services that talk to databases."
  type = object({
    subnet_ids         = list(string)
    security_group_ids = list(string)
  })
  default = { subnet_ids = [], security_group_ids = [] }
}

variable "catalog_files" {
  description = "Files with what `tidegate catalog` printed, one for each pipeline or group that Athena is to see."
  type        = list(string)
  default     = []
}

variable "access_log_bucket" {
  description = "Bucket for S3's access logs; null: none are kept."
  type        = string
  default     = null
}

variable "alarm_email" {
  description = "Address that alarms are sent to, once it has confirmed; null: none."
  type        = string
  default     = null
}
