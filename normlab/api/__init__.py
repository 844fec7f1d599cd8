"""What normlab does, as functions: the commands call them, and so can a script or a notebook.

They take settings in the command line's own grammar, return typed values and raise subclasses of
NormlabError; a Ctrl-C stays a KeyboardInterrupt. Nothing is printed, but where a person looks at a
terminal or a notebook the progress of runs.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
