from .dataset import Dataset as Dataset
from .dataset import batches as batches
