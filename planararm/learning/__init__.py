"""Training of the learned policies: data, losses, resumable runs."""
