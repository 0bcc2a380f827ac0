"""Adapters of the runtime's ports on AWS. Endpoints, region and credentials come from the standard variables."""
