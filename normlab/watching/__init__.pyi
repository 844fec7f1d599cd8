from .judging import WatchDiagnosis as WatchDiagnosis
from .watch import Watch as Watch
from .watch import WatchWarning as WatchWarning
