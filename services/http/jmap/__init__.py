"""JMAP (RFC 8620): requests, their limits and references, the methods that every type has. No I/O in most of it."""
