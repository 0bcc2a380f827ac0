terraform {
  required_version = ">= 1.9"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }
}

# The emulator's own credentials and address; nothing here may reach an account on AWS.
provider "aws" {
  region     = var.region
  access_key = var.account
  secret_key = "emulator"

  s3_use_path_style           = true
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_region_validation      = true

  endpoints {
    athena         = var.endpoint
    cloudwatch     = var.endpoint
    dynamodb       = var.endpoint
    ec2            = var.endpoint
    ecs            = var.endpoint
    glue           = var.endpoint
    iam            = var.endpoint
    kms            = var.endpoint
    lambda         = var.endpoint
    logs           = var.endpoint
    s3             = var.endpoint
    scheduler      = var.endpoint
    secretsmanager = var.endpoint
    sfn            = var.endpoint
    sns            = var.endpoint
    sqs            = var.endpoint
    sts            = var.endpoint
  }

  default_tags {
    tags = {
      project     = "tidegate"
      environment = "local"
      stack       = var.stack
      managed-by  = "terraform"
    }
  }
}

# A stack that is thrown away, on plain HTTP.
module "tidegate" {
  source = "../../modules/platform"

  stack        = var.stack
  packages_dir = var.packages_dir

  reuse_existing_layers   = var.reuse_existing_layers
  use_external_layer_arns = var.use_external_layer_arns
  external_layer_arns     = var.external_layer_arns
  force_layer_update      = var.force_layer_update

  secrets            = var.secrets
  pipeline_variables = var.pipeline_variables
  settings           = var.settings
  catalog_files      = var.catalog_files
  schedules_enabled  = var.schedules_enabled

  deletion_protection = false
  force_destroy       = true
  require_tls         = false
  emulated            = true
  maximum_concurrency = var.maximum_concurrency
}
