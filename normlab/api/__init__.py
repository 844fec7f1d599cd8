"""What normlab does, as functions: the commands call them, and so can a script or a notebook.

They take settings in the command line's own grammar, return typed values, print nothing and raise
subclasses of NormlabError; a Ctrl-C stays a KeyboardInterrupt. A sweep's local workers are
processes of their own, so a script calls `sweep` and `verify` below `if __name__ == "__main__":`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
