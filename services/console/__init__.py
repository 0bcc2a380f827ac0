"""The operator's CLI and the embedded stack it can run."""
