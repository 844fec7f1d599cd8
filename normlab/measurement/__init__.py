"""What is measured of a network's layers, what theory predicts of it, and what that means."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
