"""normlab: see why normalization and residual learning make deep networks trainable."""

__version__ = "0.1.0"
