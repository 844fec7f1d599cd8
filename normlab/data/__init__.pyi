from .batching import batches as batches
