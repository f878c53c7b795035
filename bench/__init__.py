"""Side-by-side measurements, each a ratio taken in one run: `python -m bench`.

Every side runs in a process of its own (`bench.worker`), so that neither inherits the other's memory, threads
or allocator; the parent stays free of torch and of images.
"""
