"""Neural networks in plain NumPy: layers, losses, optimisers, training, diagnostics."""
