variable "stack" {
  description = "Prefix of every name."
  type        = string
}

variable "layers" {
  description = "Zip of each layer, from the folder of packages on."
  type        = map(string)
}

variable "packages_dir" {
  description = "Folder that `make package` fills."
  type        = string
}

variable "bucket" {
  description = "Bucket the zips go through: a direct upload ends at 50 MB, and the libraries for Parquet are larger."
  type        = string
}

variable "runtime" {
  description = "Lambda runtime."
  type        = string
}

variable "architecture" {
  description = "x86_64 or arm64."
  type        = string
}

variable "keep_versions" {
  description = "Leave replaced versions in the account."
  type        = bool
  default     = true
}

variable "reuse_existing_layers" {
  description = "Keep a published version while its content is the same; false: publish anew with every apply."
  type        = bool
  default     = true
}

variable "force_layer_update" {
  description = "Publish every layer anew now, even if its content is the same."
  type        = bool
  default     = false
}

variable "use_external_layer_arns" {
  description = "Publish nothing; take the versions in external_layer_arns."
  type        = bool
  default     = false

  validation {
    condition     = !(var.use_external_layer_arns && var.force_layer_update)
    error_message = "use_external_layer_arns publishes nothing, so force_layer_update cannot be asked for with it."
  }
}

variable "external_layer_arns" {
  description = "Versions to use, one a layer; each is recognised by the end of its name (…-polars:3 is layer polars)."
  type        = list(string)
  default     = []

  validation {
    condition     = !var.use_external_layer_arns || length(var.external_layer_arns) > 0
    error_message = "use_external_layer_arns needs external_layer_arns."
  }

  validation {
    condition = alltrue([
      for arn in var.external_layer_arns : can(regex("^arn:[a-z-]+:lambda:[a-z0-9-]+:[0-9]{12}:layer:[A-Za-z0-9_-]+:[0-9]+$", arn))
    ])
    error_message = "external_layer_arns takes versions: arn:aws:lambda:REGION:ACCOUNT:layer:NAME:VERSION."
  }

  validation {
    condition = !var.use_external_layer_arns || alltrue([
      for layer in keys(var.layers) : length([
        for arn in var.external_layer_arns : arn if can(regex("(^|-)${layer}$", split(":", arn)[6]))
      ]) == 1
    ])
    error_message = "external_layer_arns must hold exactly one version of each layer: ${join(", ", keys(var.layers))}."
  }
}
