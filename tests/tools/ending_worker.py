"""A worker process that can make one run only, as one whose GPU is broken by it."""

import os
import pickle
from multiprocessing.connection import Connection

from normlab.config import run_id
from normlab.runs.launchers.worker_process import State, Terms
from normlab.runs.outcomes import Outcome


def work(link: Connection, _: Terms) -> None:
    """Say of one run that it finished, with the process's number as the reason, and end."""
    link.send(State.READY)
    config = pickle.loads(link.recv_bytes())
    link.send(State.BEGUN)
    link.send(State.ENDING)
    link.send(Outcome(run_id(config), "finished", str(os.getpid())))
