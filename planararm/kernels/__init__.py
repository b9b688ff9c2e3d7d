"""Compiled kernels (Numba): the hot loops, and nothing else.

Every kernel is one serial function over a range ``[start, stop)`` of the batch, compiled without fast-math
and without the GIL. :func:`planararm.kernels.launch.launch` runs it on the calling thread or, for large
batches, on ranges in parallel; each element sees the same instructions either way, so the results are
bit for bit the same.
"""
