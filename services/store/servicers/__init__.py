"""The store's gRPC services: one module for each, that converts, asks the rules, and converts back."""
