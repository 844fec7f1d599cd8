from .loading import Dataset as Dataset
from .loading import batches as batches
from .loading import load as load
from .loading import locate as locate
