"""IMAP's grammar (RFC 9051 section 9, RFC 3501 section 9): bytes to command values and back. No I/O."""
