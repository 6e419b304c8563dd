"""JMAP Mail (RFC 8621): mailboxes, threads and emails, made of what the store says of an account."""
