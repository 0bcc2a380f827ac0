variable "stack" {
  description = "Prefix of every name."
  type        = string
}

variable "catalogs" {
  description = "What `tidegate catalog` printed, decoded: one for each pipeline or group of entities."
  type = list(object({
    database = string
    tables = list(object({
      Name          = string
      Description   = string
      TableType     = string
      Parameters    = map(string)
      PartitionKeys = list(object({ Name = string, Type = string }))
      StorageDescriptor = object({
        Location     = string
        InputFormat  = string
        OutputFormat = string
        Columns      = list(object({ Name = string, Type = string, Comment = optional(string) }))
        SerdeInfo    = object({ SerializationLibrary = string, Parameters = map(string) })
      })
    }))
  }))
}

variable "results_bucket" {
  description = "Bucket for the results of queries."
  type        = string
}

variable "bytes_scanned_limit" {
  description = "Bytes after which Athena ends a query."
  type        = number
  default     = 1099511627776
}

variable "kms_key_arn" {
  description = "Customer managed key of the results; null: keys that S3 manages."
  type        = string
  default     = null
}
