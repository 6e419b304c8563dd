"""The POP3 front end (RFC 1939 and its extensions): bytes -> machine -> command -> handler -> reply -> bytes."""
