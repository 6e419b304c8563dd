"""The services of Mailkeep: each front end and the store is a package run as `python -m services.NAME`."""

__version__ = "0.1.0"
