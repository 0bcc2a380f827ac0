variable "endpoint" {
  description = "Where the emulator answers."
  type        = string

  validation {
    condition     = can(regex("^http://(127\\.0\\.0\\.1|localhost):[0-9]+$", var.endpoint))
    error_message = "endpoint: an emulator on this machine, http://127.0.0.1:PORT."
  }
}

variable "account" {
  description = "Account of the emulator: twelve digits, which it takes as the access key."
  type        = string
  default     = "000000000000"
}

variable "region" {
  description = "AWS region."
  type        = string
  default     = "us-east-1"
}

variable "stack" {
  description = "Prefix of every name."
  type        = string
  default     = "tidegate"
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
  description = "Layer versions that another stack has published."
  type        = list(string)
  default     = []
}

variable "force_layer_update" {
  description = "Publish every layer anew with this apply, even if its content is the same."
  type        = bool
  default     = false
}

variable "secrets" {
  description = "Names or ARNs of secrets, by the variable that a declaration names."
  type        = map(string)
  default     = {}
}

variable "pipeline_variables" {
  description = "Other variables that declarations name."
  type        = map(string)
  default     = {}
}

variable "settings" {
  description = "Settings of one service, by service and variable."
  type        = map(map(string))
  default     = {}
}

variable "catalog_files" {
  description = "Files with what `tidegate catalog` printed."
  type        = list(string)
  default     = []
}

variable "schedules_enabled" {
  description = "Let the schedules fire."
  type        = bool
  default     = false
}

variable "maximum_concurrency" {
  description = "Consumers of a queue side by side, at most: each container unpacks its layers anew, and one machine has few processors."
  type        = number
  default     = 1000
}
