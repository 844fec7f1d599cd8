"""How alike samples are, on numbers whose answer is known."""

import itertools
import math

import numpy as np
import pytest
import torch

from normlab.config import PROBES
from normlab.measurement import Observation
from tests.measurement.devices import every_device

centred_cosine, gradient_cosine, effective_rank = (
    PROBES[name].measure for name in ("centred_cosine", "gradient_cosine", "effective_rank")
)


def sent(activation, real=None):
    """An observation of which only the activation is looked at."""
    return Observation(torch.ones(2, 1), torch.zeros_like(activation), activation, None, real)


def given_back(delta, real=None):
    """An observation of which only δ is looked at."""
    return Observation(torch.ones(2, 1), delta, torch.zeros_like(delta), None, real)


def normal(*shape, seed=0):
    drawn = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=drawn, dtype=torch.float64)


def in_parts(name, whole, sizes):
    """A probe of an observation's parts, joined from left to right."""
    how = PROBES[name].parts
    tensors = whole.delta, whole.activation, whole.real
    cut = zip(
        *(t.split(sizes) if t is not None else itertools.repeat(None) for t in tensors),
        strict=False,
    )
    gathered = [how.gather(Observation(whole.weight, d, a, None, real)) for d, a, real in cut]
    joined = gathered[0]
    for part in gathered[1:]:
        joined = how.join(joined, part)
    return how.finish(joined).item()


REAL = torch.tensor([[1, 1, 1, 0], [1, 0, 0, 0], [1, 1, 0, 0]], dtype=torch.bool)


# ------------------------------------------------------------------------ centred_cosine


@pytest.mark.parametrize(
    ("vectors", "expected"),
    [
        ([[1, 2, 3], [10, 20, 30]], 1),
        ([[1, 2, 3], [103, 102, 101]], -1),
        ([[1, 2, 3], [7, 5, 7]], 0),
        ([[1, 1, 4], [0, 3, 0]], -0.5),
        ([[5, 5, 5], [8, 8, 8]], 1),  # of equal entries, as is a zero vector
        ([[0, 0, 0], [8, 8, 8]], 1),
        ([[5, 5, 5], [1, 2, 3]], 0),
        ([[5, 5, 5], [2, 2, 2], [1, 2, 3]], 1 / 3),  # one pair of three
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_centred_cosine_counts_pairs(vectors, expected, dtype):
    measured = centred_cosine(sent(torch.tensor(vectors, dtype=dtype)))
    assert measured.item() == pytest.approx(expected, abs=1e-7)


@every_device
def test_equal_entries_have_no_direction_however_their_mean_is_rounded(device):
    row = torch.full((1, 1000), 0.1, dtype=torch.float64, device=device)
    assert (row - row.mean()).any()  # else there is nothing to round
    assert centred_cosine(sent(torch.cat([row, -3 * row]))) == 1
    other = row.clone()
    other[0, 3] = torch.tensor(0.1, dtype=torch.float64) * (1 + 2**-23)  # float32's last digit
    assert centred_cosine(sent(torch.cat([other, other]))).item() == pytest.approx(1)
    assert centred_cosine(sent(torch.cat([other, row]))).item() == pytest.approx(0, abs=1e-12)


def test_centred_cosine_sees_no_offset_and_no_scale_of_a_sample():
    x = normal(5, 40)
    moved = x * torch.tensor([1, 2, 3, 4, 5])[:, None] + torch.arange(5)[:, None] * 100
    expected = np.corrcoef(x.numpy())[~np.eye(5, dtype=bool)].mean()
    for each in (x, moved, moved.reshape(5, 10, 2, 2)):
        assert centred_cosine(sent(each)).item() == pytest.approx(expected, abs=1e-12)
    assert PROBES["sample_cosine"].measure(sent(moved)) > 0.5 > abs(expected)


def test_centred_cosine_of_padded_samples_is_of_their_tokens():
    x = normal(3, 4, 6).masked_fill(~REAL[:, :, None], 1e6)
    pairs = [(0, 1, 0), (0, 2, 0), (1, 2, 0), (0, 2, 1)]  # samples and a position real in both
    cosines = [np.corrcoef(x[i, t].numpy(), x[j, t].numpy())[0, 1] for i, j, t in pairs]
    assert centred_cosine(sent(x, REAL)).item() == pytest.approx(np.mean(cosines))
    # Without padding a sample is one vector.
    expected = np.corrcoef(x.flatten(1).numpy())[~np.eye(3, dtype=bool)].mean()
    assert centred_cosine(sent(x)).item() == pytest.approx(expected)


# ----------------------------------------------------------------------- gradient_cosine


@pytest.mark.parametrize(
    ("vectors", "expected"),
    [
        ([[1, 0], [2, 0]], 1),
        ([[1, 0], [-3, 0]], -1),
        ([[1, 0], [0, 5]], 0),
        ([[1, 1], [1, 0], [0, 0]], math.sqrt(0.5)),  # the sample without a gradient is left out
        ([[0, 0], [3, 4]], math.nan),
        ([[0, 0], [0, 0]], math.nan),
        ([[1e-38, 0], [1e-30, 0]], 1),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradient_cosine_counts_pairs_that_have_directions(vectors, expected, dtype):
    measured = gradient_cosine(given_back(torch.tensor(vectors, dtype=dtype))).item()
    assert measured == pytest.approx(expected, abs=1e-7, nan_ok=True)


def test_gradient_cosine_of_padded_samples_is_of_their_tokens():
    delta = normal(3, 4, 6).masked_fill(~REAL[:, :, None], 7)
    delta[1, 0] = 0
    left = [(0, 2, 0), (0, 2, 1)]  # samples and a position real, and with a gradient, in both
    cosines = [torch.cosine_similarity(delta[i, t], delta[j, t], dim=0).item() for i, j, t in left]
    assert gradient_cosine(given_back(delta, REAL)).item() == pytest.approx(np.mean(cosines))


# ------------------------------------------------------------------------ effective_rank


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (torch.eye(4), 4),
        (torch.eye(4)[:3] * 1e-30, 3),
        (torch.cat([torch.eye(3)] * 5), 3),
        (torch.tensor([[1.0, 2.0], [2.0, 4.0], [-3.0, -6.0]]), 1),
        (torch.tensor([[0.8, 0.0], [0.0, 0.2]]), 1 / (0.8**0.8 * 0.2**0.2)),
        (torch.tensor([[0.0, 0.0], [0.6, 0.8]]), 1),
        (torch.zeros(3, 5), 0),
        (torch.zeros(5, 3), 0),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_effective_rank_is_the_exponential_of_the_entropy(rows, expected, dtype):
    measured = effective_rank(sent(rows.to(dtype))).item()
    assert measured == pytest.approx(expected, rel=1e-6)


def exponential_entropy(matrix):
    values = np.linalg.svd(np.asarray(matrix, dtype=np.float64), compute_uv=False)
    shares = values[values > 0] / values.sum()
    return math.exp(-(shares * np.log(shares)).sum())


@every_device
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(6, 40), (40, 6), (7, 7), (6, 3, 4, 5)])
def test_effective_rank_is_numpys(shape, dtype, device):
    x = normal(*shape).to(dtype)
    x[2] = 3 * x[1]
    expected = exponential_entropy(x.flatten(1))
    assert effective_rank(sent(x.to(device))).item() == pytest.approx(expected, rel=1e-10)


@every_device
@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("shape", [(6, 40), (40, 6)])
def test_what_is_not_finite_has_no_rank(shape, bad, device):
    x = normal(*shape).to(device)
    x[3, 2] = bad
    assert effective_rank(sent(x)).isnan()


def test_small_singular_values_are_no_rounding():
    """As those of a Gram matrix would be, whose eigenvalues are their squares."""
    left, right = (torch.linalg.qr(normal(30, 5, seed=seed)).Q for seed in (1, 2))
    values = torch.tensor([1, 1e-9, 1e-9, 1e-9, 1e-9], dtype=torch.float64)
    shares = (values / values.sum()).numpy()
    expected = math.exp(-(shares * np.log(shares)).sum()) - 1
    measured = effective_rank(sent((left * values) @ right.T)).item() - 1
    assert measured == pytest.approx(expected, rel=1e-4)


def test_of_tokens_each_real_one_is_a_row():
    x = normal(3, 4, 6)
    assert effective_rank(sent(x)).item() == pytest.approx(exponential_entropy(x.flatten(0, 1)))
    padded = x.masked_fill(~REAL[:, :, None], 1e6)
    expected = exponential_entropy(x[REAL])
    assert effective_rank(sent(padded, REAL)).item() == pytest.approx(expected)


# ------------------------------------------------------------------------ parts of a batch


@pytest.mark.parametrize("sizes", [[1, 5], [2, 2, 2], [3, 2, 1], [1] * 6])
@pytest.mark.parametrize("shape", [(6, 3), (6, 4), (6, 50), (6, 4, 5), (6, 4, 2), (6, 3, 2, 2)])
@pytest.mark.parametrize("name", ["centred_cosine", "gradient_cosine", "effective_rank"])
@pytest.mark.parametrize("padded", [False, True])
def test_parts_of_a_batch_join_to_the_whole(name, shape, sizes, padded):
    x, delta = normal(*shape, seed=1), normal(*shape, seed=2)
    delta[2] = 0
    real = torch.arange(4) < torch.tensor([3, 1, 2, 4, 4, 1])[:, None] if padded else None
    whole = Observation(torch.ones(2, 1), delta, x, None, real)
    expected = PROBES[name].measure(whole).item()
    assert in_parts(name, whole, sizes) == pytest.approx(expected, rel=1e-12, abs=1e-13)
