"""Accounts out of an LDAP directory: in Messaging Server's schema, or in a plain one.

`filters`, `domains`, `entries`, `quotas`, `answers`, `certificates`, `places` and `wire` know the schema and the
protocol and do no I/O. `links` makes connections by ldap3, `lanes` ask over them, `pool` holds them for all `servers`;
`finding` knows which searches find whom, and `directory` puts it together and remembers.
"""
