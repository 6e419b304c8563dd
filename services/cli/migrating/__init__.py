"""Coming to Mailkeep from elsewhere: a configuration of Messaging Server, and mailboxes of any IMAP server."""
