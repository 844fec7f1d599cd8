"""Whatever is typed or lies in a file ends in what was meant or in one line, never in a traceback.

The long form is slow; `NORMLAB_FUZZ` says how many cases.
"""

import contextlib
import functools
import gzip
import io
import os
import pickle
import re
import struct
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from normlab.config import DATA_SETS, compose
from normlab.config.composing import leaves
from normlab.data import cifar as cifar_files
from normlab.data import idx as idx_files
from normlab.errors import DataError
from tests.cli.invoking import normlab
from tests.conftest import TINY
from tests.tools.processes import started

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
            *("range(0,1,0)", "range(nan,inf)", "shuffle(range(1e30))", "range(0,1,1e-400)"),
            *("range(2),1", "interval(0,1),2", "choice(range(2))"),
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
    done = normlab(*words, cwd=Path.cwd())
    return done.returncode, done.stdout, done.stderr


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


# ---------------------------------------------------------------------------- data files


def pickled(size=2):
    images = np.arange(size * 3072, dtype=np.uint8).reshape(size, 3072)
    return {b"data": images, b"labels": [3] * size, b"filenames": [b"x.png"] * size}


def idx():
    return struct.pack(">HBB3I", 0, 8, 3, 5, 4, 3) + bytes(range(60))


def tarred():
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name in (batch.name for batch in DATA_SETS["cifar10"].batches):
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            batch = pickle.dumps(pickled(), protocol=2)
            member.size = len(batch)
            archive.addfile(member, io.BytesIO(batch))
    return content.getvalue()


def damaged(whole):
    """Contents near a whole one: bytes changed, cut out, put in and cut off."""

    def cut(content, start, removed, put):
        start = int(start * len(content))
        return content[:start] + put + content[start + removed :]

    cuts = st.tuples(st.floats(0, 1), st.sampled_from([0, 1, 1, 4, 100]), st.binary(max_size=9))
    return st.lists(cuts, max_size=4).map(
        lambda each: functools.reduce(lambda content, c: cut(content, *c), each, whole)
    )


def hostile_pickles():
    """Programs of a pickle's instructions about names that run what they are given."""
    names = [
        *("os system", "builtins eval", "builtins getattr", "numpy load", "numpy ndarray"),
        *("numpy dtype", "numpy.core.multiarray _reconstruct", "numpy ndarray.tofile"),
    ]
    name = st.sampled_from(names).map(lambda n: b"c%s\n%s\n" % tuple(n.encode().split()))
    value = st.one_of(
        st.integers(-(2**70), 2**70).map(lambda n: b"I%d\n" % n),
        st.sampled_from([b"U\x04data", b"X\x05\0\0\0touch", b"N", b"]", b"}", b")", b"(", b"F1\n"]),
        st.binary(max_size=8).map(lambda b: b"C" + bytes([len(b)]) + b),
    )
    act = st.sampled_from(
        [bytes([code]) for code in b"R.btsaeu0p1q\0r\xff\xff\xff\x3f\x81\x85\x86\x93\x96"]
    )
    return st.lists(st.one_of(name, value, act), max_size=25).map(
        lambda parts: b"\x80\x02" + b"".join(parts) + b"."
    )


def read_or_refused(read):
    """What is read, or None where one line says what is wrong with it."""
    try:
        return read()
    except DataError as error:
        told = str(error)
    assert told.count("\n") == 0
    assert re.search(r"damaged \(.+\); delete it", told)
    assert len(told) < 400
    return None


@settings(max_examples=CASES, deadline=None)
@given(damaged(idx()))
def test_any_idx_file_is_read_or_damaged(tmp_path_factory, content):
    file = tmp_path_factory.getbasetemp() / "idx.gz"
    file.write_bytes(gzip.compress(content))
    found = read_or_refused(lambda: idx_files.read_idx(file, (5, 4, 3)))
    assert (found is None) == (len(content) != len(idx()) or content[:16] != idx()[:16])


@settings(max_examples=CASES, deadline=None)
@given(damaged(gzip.compress(idx(), mtime=0)))
def test_any_compressed_file_is_read_or_damaged(tmp_path_factory, content):
    file = tmp_path_factory.getbasetemp() / "idx.gz"
    file.write_bytes(content)
    found = read_or_refused(lambda: idx_files.read_idx(file, (5, 4, 3)))
    if found is not None:  # the gzip header may change, not what its checksum is of
        assert found.tobytes() == bytes(range(60))


BATCH = cifar_files.Batch("data_batch_1", 2, {b"labels": 10})


def is_batch(found):
    images, labels = found
    return (images.shape, images.dtype, labels.shape) == ((2, 3, 32, 32), np.uint8, (2,))


@settings(max_examples=CASES, deadline=None)
@given(
    st.one_of(
        *(damaged(pickle.dumps(pickled(), protocol=protocol)) for protocol in (0, 2, 4, 5)),
        hostile_pickles(),
        st.binary(max_size=60),
    )
)
def test_any_pickle_is_a_batch_or_damaged(tmp_path_factory, content):
    place = tmp_path_factory.getbasetemp()
    before = sorted(place.iterdir())
    try:
        found = read_or_refused(
            lambda: cifar_files.read_batch(io.BytesIO(content), "data_batch_1", BATCH)
        )
    except EOFError:  # which the reader of its file tells
        return
    assert found is None or is_batch(found)
    assert sorted(place.iterdir()) == before


@settings(
    max_examples=CASES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(damaged(tarred()), st.booleans())
def test_any_archive_is_read_or_damaged(tmp_path_factory, monkeypatch, content, whole):
    kind = DATA_SETS["cifar10"]
    batches = tuple(batch._replace(size=2) for batch in kind.batches)
    monkeypatch.setattr(kind, "batches", batches)
    file = tmp_path_factory.getbasetemp() / "cifar.tar.gz"
    packed = gzip.compress(content, 1)
    file.write_bytes(packed if whole else packed[: len(packed) // 2])
    found = read_or_refused(lambda: kind.read(file))
    assert found is None or all(images.dtype == np.uint8 for images, _ in found)
    assert found is None or whole


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_the_same_of_many_more_cases():
    here = [sys.executable, "-m", "pytest", "-n0", "-q", "-p", "no:cacheprovider", __file__]
    environment = {**os.environ, "NORMLAB_FUZZ": "500"}
    root = Path(__file__).parents[2]
    with started(here, cwd=root, env=environment, stdout=subprocess.PIPE, text=True) as process:
        told = process.communicate()[0]
    assert process.returncode == 0, told
