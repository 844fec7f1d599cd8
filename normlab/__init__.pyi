from .api import Comparison as Comparison
from .api import Diagnosis as Diagnosis
from .api import Results as Results
from .api import Run as Run
from .api import Theory as Theory
from .api import Verdicts as Verdicts
from .api import Watch as Watch
from .api import compose as compose
from .api import extend as extend
from .api import load_plugin as load_plugin
from .api import model as model
from .api import read_run as read_run
from .api import results as results
from .api import run as run
from .api import sweep as sweep
from .api import theory as theory
from .api import verify as verify
from .api import watch as watch
from .config import Config as Config
from .errors import NormlabError as NormlabError
from .runs import Summary as Summary

__version__: str
