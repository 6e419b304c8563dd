"""Reading messages: header fields, MIME structure, and what the protocols say of them. Bytes in, values out; no I/O.

Every function takes any bytes and raises nothing on their account: mail is what arrives, not what the RFCs wish for.
Lines end with CRLF; a bare LF ends one too, a bare CR does not. All of it runs in time linear in the message's size.
"""
