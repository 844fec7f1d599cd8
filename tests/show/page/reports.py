"""Pages of drawn figures."""

from normlab.analysis import read_results
from normlab.show import Selection, write_report
from tests.tools.synthetic_results import write_runs

HOSTILE = "<img src=x onerror=alert(1)>"


def report_on(root, *, count=80, experiment="synthetic", keep=None, **options):
    write_runs(count, root, experiment, with_tables=True)
    frame, _ = read_results([root])
    frame = frame[frame["optimizer.lr"] == 0.1]
    file = root.parent / "report.html"
    kept = frame if keep is None else keep(frame)
    write_report(Selection(kept, [root]), file, **options)
    return file
