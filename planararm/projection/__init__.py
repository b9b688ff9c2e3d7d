"""The nearest configuration that holds the constraints: exact, batched, with derivatives."""
