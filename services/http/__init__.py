"""The HTTP service: logins of browsers, and JMAP."""
