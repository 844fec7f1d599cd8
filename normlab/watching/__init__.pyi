from .watch import Watch as Watch
from .watch import WatchWarning as WatchWarning
