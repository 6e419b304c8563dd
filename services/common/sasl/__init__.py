"""Server side of SASL (RFC 4422). No I/O.

`steps` are what a mechanism yields, `exchange` drives one, `mechanisms` is the table, and each other module holds the
mechanisms that work alike.
"""
