"""A sweep of many tiny runs, and what its processes hold while it goes on.

    python -m tests.tools.load 1000 8 FOLDER

makes 1000 runs with 8 workers and prints, every tenth of the way, the memory, open files and
threads of the sweep's own process and the most of any worker.
"""

import subprocess
import sys
import time
from pathlib import Path

from normlab.runs import is_final
from tests.tools.processes import children, started

NET = (
    *("data=gaussian", "data.train_size=64", "data.test_size=16", "data.size=4", "model=mlp"),
    *("model.depth=4", "model.width=8", "training.batch_size=16", "training.epochs=1"),
    *("probes=verdict", "probes.batch_size=8", "runtime.device=cpu"),
)


def held(process: int) -> tuple[float, int, int]:
    """A process's memory in MB, its open files and its threads; zeros where it is gone."""
    place = Path("/proc") / str(process)
    try:
        lines = (place / "status").read_text().splitlines()
        values = dict(line.split(":", 1) for line in lines if ":" in line)
        files = sum(1 for _ in (place / "fd").iterdir())
        return int(values["VmRSS"].split()[0]) / 1024, files, int(values["Threads"])
    except (OSError, KeyError):
        return 0.0, 0, 0


if __name__ == "__main__":
    count, workers, root = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    words = [*NET, f"seed=range({count})", f"launcher.workers={workers}", f"output.root={root}"]
    began = time.monotonic()
    command = [sys.executable, "-m", "normlab", "sweep", *words]
    told = 0
    print("runs    seconds | sweep: MB  files  threads | worker, most: MB  files  threads")
    with started(command, stdout=subprocess.DEVNULL) as sweep:
        while sweep.poll() is None:
            time.sleep(1)
            done = sum(1 for _ in root.glob("runs/*/summary.json"))
            if done >= told + count // 10:
                told = done
                own, most = held(sweep.pid), [held(child) for child in children(sweep.pid)]
                top = [max(values) for values in zip(*most, strict=True)] if most else [0, 0, 0]
                print(
                    f"{done:>5} {time.monotonic() - began:>9.0f} | "
                    f"{own[0]:>8.0f} {own[1]:>6} {own[2]:>8} | "
                    f"{top[0]:>16.0f} {top[1]:>6} {top[2]:>8}",
                    flush=True,
                )
    finished = sum(is_final(folder) for folder in root.glob("runs/*"))
    print(f"{finished} runs finished in {time.monotonic() - began:.0f} s, exit {sweep.returncode}")
    sys.exit(finished != count or sweep.returncode)
