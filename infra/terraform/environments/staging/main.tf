terraform {
  # The lock file of the backend came with it; modules alone ask for less.
  required_version = ">= 1.10"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }

  # Bucket, key and region come from backend.hcl: terraform init -backend-config=backend.hcl
  backend "s3" {
    use_lockfile = true
    encrypt      = true
  }
}

provider "aws" {
  region = var.region

  default_tags {
    tags = {
      project     = "tidegate"
      environment = "staging"
      stack       = var.stack
      managed-by  = "terraform"
    }
  }
}

# As production in everything that can break; only what costs money or outlives a mistake is less.
module "tidegate" {
  source = "../../modules/platform"

  stack        = var.stack
  packages_dir = var.packages_dir

  reuse_existing_layers   = var.reuse_existing_layers
  use_external_layer_arns = var.use_external_layer_arns
  external_layer_arns     = var.external_layer_arns
  force_layer_update      = var.force_layer_update
  optional_layers         = var.optional_layers

  secrets            = var.secrets
  pipeline_variables = var.pipeline_variables
  socrata_app_token  = var.socrata_app_token
  event_log_bucket   = var.event_log_bucket
  event_log_account  = var.event_log_account
  checkpoint_bucket  = var.checkpoint_bucket
  other_key_arns     = var.other_key_arns
  vpc                = var.vpc
  catalog_files      = var.catalog_files
  access_log_bucket  = var.access_log_bucket
  alarm_email        = var.alarm_email

  deletion_protection  = false
  customer_managed_key = true
}
