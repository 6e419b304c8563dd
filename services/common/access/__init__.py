"""Who may come in: TCP-wrapper filters and the service rules of accounts and domains, decided without any I/O."""
