"""Zips for AWS Lambda, of functions and of their layers: ``python -m infra.packages``, or ``make package``."""
