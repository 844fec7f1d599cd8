from .nets import NETS as NETS
from .nets import QUICK_NETS as QUICK_NETS
from .nets import Case as Case
from .profiling import OperationTime as OperationTime
from .profiling import profile as profile
from .timing import LEGEND as LEGEND
from .timing import Timing as Timing
from .timing import measure as measure
