"""Anything typed as an override ends in a config or in one line, never in a traceback or a file.

The long form: `NORMLAB_FUZZ=2000 pytest -n0 tests/test_fuzz.py`.
"""

import contextlib
import io
import os
import sys
from pathlib import Path

import pytest
from conftest import TINY
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from normlab.cli import main
from normlab.config import compose, leaves

CASES = int(os.environ.get("NORMLAB_FUZZ", "30"))
SECRET = "a-secret-of-the-environment"

wild = st.one_of(
    st.text(max_size=30),
    st.sampled_from(
        [
            *(
                "nan",
                "inf",
                "-inf",
                "-0.0",
                "1e309",
                "9" * 400,
                "-1",
                "0",
                "0x10",
                "1_000",
                "1e-400",
            ),
            *("null", "true", "yes", "[]", "{}", "[[[]]]", "[" * 200, "{a:{b:{c:1}}}", "(1,2)"),
            *("1,2", "range(3)", "range(0,1e9)", "choice(1,2)", "interval(0,1)", "glob(*)"),
            *("sort(3,2)", "shuffle(1,2)", "tag(a,1)", "str(1)", "int(x)", "extend_list(1)"),
            *("${oc.env:NORMLAB_SECRET}", "${hydra:runtime.cwd}", "${oc.env:HOME}", "${seed}"),
            *("${oc.decode:1}", "${oc.create:{a:1}}", "${model}", "${", "$", "${a.b}", "???"),
            *(
                "'",
                '"',
                "'a",
                "\\",
                "\\n",
                "a b",
                " ",
                "=",
                "a=b",
                "@",
                "#",
                "%",
                "\x00",
                "\x1b[31m",
            ),
            *("../x", "/etc/passwd", "~", "_target_", "os.system", "!!python/object:os.system"),
        ]
    ),
    st.integers().map(str),
    st.floats().map(str),
    st.recursive(
        st.sampled_from(["1", "a", "null"]),
        lambda inner: st.lists(inner, max_size=3).map(lambda items: f"[{','.join(items)}]"),
        max_leaves=30,
    ),
)
key = st.one_of(
    st.sampled_from(sorted(leaves())),
    st.sampled_from(["model", "norm", "data", "probes", "experiment", "launcher", "hydra", "x.y"]),
    st.text(max_size=12),
    st.sampled_from(
        ["seed.x", "model.depth.x", "_target_", "hydra.run.dir", "defaults", "model@x"]
    ),
)
override = st.one_of(
    st.builds(
        lambda mark, k, v: f"{mark}{k}={v}", st.sampled_from(["", "", "+", "++", "~"]), key, wild
    ),
    st.builds(lambda mark, k: f"{mark}{k}", st.sampled_from(["~", "", "-", "--"]), key),
    st.text(max_size=20),
)


def run(*words):
    """The command line's exit code and what it printed."""
    before = sys.argv
    sys.argv = ["normlab", *words]
    out, err = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
    except SystemExit as ended:
        return ended.code or 0, out.getvalue(), err.getvalue()
    finally:
        sys.argv = before
    raise AssertionError("main ends the process")


@pytest.fixture(scope="module", autouse=True)
def elsewhere(tmp_path_factory):
    """An empty folder to be in, and a secret to be kept."""
    folder, before = tmp_path_factory.mktemp("fuzz"), Path.cwd()
    os.chdir(folder)
    os.environ["NORMLAB_SECRET"] = SECRET
    yield folder
    os.chdir(before)
    del os.environ["NORMLAB_SECRET"]


@settings(max_examples=CASES, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.lists(override, min_size=1, max_size=3), st.sampled_from(["run", "sweep"]))
def test_any_override_is_a_config_or_one_line(overrides, command):
    option = "--cfg" if command == "run" else "--dry-run"
    code, out, err = run(command, option, "--", *overrides)
    told = f"{overrides} {code}\n{out[-500:]}\n{err[-500:]}"
    assert code in (0, 2), told
    assert "Traceback" not in out + err, told
    assert SECRET not in out + err, told
    if code:
        assert err.startswith("normlab: "), told
        assert err.count("\n") == 1, told
        assert out == "", told
        assert not any(ord(c) < 32 for c in err[:-1]), told
    elif command == "run":
        compose(overrides)
    assert list(Path.cwd().iterdir()) == []


@settings(
    max_examples=max(10, CASES // 20), suppress_health_check=[HealthCheck.too_slow], deadline=None
)
@given(st.lists(override, min_size=1, max_size=2))
def test_what_runs_writes_into_the_results_folder_only(overrides):
    """What a config allows is run, as small as can be, with places and lengths of its own."""
    guarded = ("training", "data", "output", "runtime", "launcher", "experiment", "probes", "hydra")
    harmless = [o for o in overrides if not o.lstrip("+~").startswith(guarded)]
    code, _, err = run(
        "run", "--", *TINY, *harmless, "model.depth=4", "model.width=8", "training.steps=1"
    )
    assert code in (0, 2, 3), (harmless, err)
    assert "Traceback" not in err
    assert {p.name for p in Path.cwd().iterdir()} <= {"results"}
    for folder in Path("results").glob("*/*"):
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
        folder.parent.rmdir()
    with contextlib.suppress(OSError):
        Path("results").rmdir()
