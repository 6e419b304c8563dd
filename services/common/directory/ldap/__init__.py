"""Accounts out of an LDAP directory: in Messaging Server's schema, or in a plain one.

`filters`, `domains`, `entries`, `quotas` and `answers` know the schema and do no I/O; `pool` and `links` talk to the
servers; `lookup` and `directory` put them together.
"""
