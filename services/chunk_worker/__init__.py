"""The chunk worker: chunk jobs against PostgreSQL. It arrives with the conflict report."""
