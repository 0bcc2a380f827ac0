variable "stack" {
  description = "Prefix of every name."
  type        = string
}

variable "functions" {
  description = "Functions by service; timeout in seconds."
  type        = map(object({ name = string, timeout_s = number }))
}

variable "log_groups" {
  description = "Log groups in which services report their runs."
  type        = map(string)
}

variable "queues" {
  description = "Queues by logical name, and the seconds a message may wait in each."
  type        = map(object({ name = string, dlq_name = string, oldest_max_s = number }))
}

variable "dropped_schedules_queue" {
  description = "Deployed name of the queue for scheduled commands that could not be delivered."
  type        = string
}

variable "pipelines" {
  description = "Pipelines; an entity of a group is one."
  type        = list(string)
}

variable "limited_pipelines" {
  description = "Pipelines that declare max_records."
  type        = list(string)
}

variable "scheduled_pipelines" {
  description = "Pipelines and groups that have a schedule."
  type        = list(string)
}

variable "watermark_max_age_hours" {
  description = "Hours in which a run must succeed, by pipeline or group; default is for the others."
  type        = map(number)

  validation {
    condition     = contains(keys(var.watermark_max_age_hours), "default")
    error_message = "watermark_max_age_hours needs an entry called default."
  }

  validation {
    condition     = alltrue([for hours in values(var.watermark_max_age_hours) : hours >= 1 && hours <= 168])
    error_message = "CloudWatch looks back over seven days at most: between 1 and 168 hours."
  }
}

variable "failed_max_percent" {
  description = "Percent of a pipeline's records that may be judged bad within five minutes."
  type        = number
}

variable "state_machine_arns" {
  description = "State machines by logical name."
  type        = map(string)
}

variable "alarm_email" {
  description = "Address that alarms are sent to, once it has confirmed; null: none."
  type        = string
  default     = null
}

variable "require_tls" {
  description = "Refuse plain HTTP; only an emulator goes without."
  type        = bool
  default     = true
}

variable "kms_key_arn" {
  description = "Customer managed key; null: none."
  type        = string
  default     = null
}
