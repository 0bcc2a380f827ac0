variable "stack" {
  description = "Prefix of every name."
  type        = string
}
