"""Parts of one's own: plugins found, hashed and loaded; whose code has entered which part."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
