"""What is measured of tokens, against closed forms and against loops over samples and rows."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.special import softmax
from scipy.stats import entropy

from normlab.config import PROBES, Probe, compose, run_id
from normlab.errors import ConfigError
from normlab.measurement import ProbeBatch, Tokens, snapshot
from normlab.networks import build_model, weight_layers
from tests.measurement.devices import every_device

NAMES = ("token_cosine", "rank_one_distance", "logit_std", "attention_entropy")


def tokens(stream=None, logits=None, mask=None):
    """Of what is given, the rest being of no matter."""
    known = stream if stream is not None else logits
    count = known.shape[-2]
    if mask is None:
        mask = torch.ones(len(known), count, dtype=torch.bool)
    if stream is None:
        stream = torch.randn(len(known), count, 3)
    if logits is None:
        logits = torch.randn(len(known), 2, count, count)
    return Tokens(stream, logits, mask)


def measured(name, **given):
    return PROBES[name].measure(tokens(**given)).item()


def batch(samples=5, count=7, channels=4, heads=3, seed=0):
    """Random tokens, of which the first k of every sample are real."""
    random = np.random.default_rng(seed)
    stream = random.normal(0.3, 1, (samples, count, channels))
    logits = random.normal(1, 2, (samples, heads, count, count))
    lengths = [0, 1, 2, count, 3][:samples]
    mask = np.arange(count) < np.array(lengths)[:, None]
    return tuple(map(torch.tensor, (stream, logits, mask)))


# --------------------------------------------------------------------------- closed forms


@pytest.mark.parametrize("count", [2, 3, 8])
def test_equal_tokens_are_of_rank_one(count):
    stream = torch.tensor([3.0, -4.0, 1.0]).expand(2, count, 3)
    assert measured("token_cosine", stream=stream) == pytest.approx(1, abs=1e-14)
    assert measured("rank_one_distance", stream=stream) == pytest.approx(0, abs=1e-15)


@pytest.mark.parametrize("count", [2, 3, 8])
def test_tokens_at_right_angles_are_as_far_from_rank_one_as_may_be(count):
    stream = torch.eye(count)[None] * 5
    assert measured("token_cosine", stream=stream) == pytest.approx(0, abs=1e-14)
    distance = measured("rank_one_distance", stream=stream)
    assert distance == pytest.approx(math.sqrt(1 - 1 / count), rel=1e-14)


@pytest.mark.parametrize("cosine", [-0.3, 0.0, 0.5, 0.999, 1 - 1e-9])
def test_of_unit_tokens_the_distance_follows_from_the_cosine(cosine):
    """‖X − 1x̄ᵀ‖² = n − n‖x̄‖² and n²‖x̄‖² = n + n(n−1)ρ."""
    count = 4
    gram = torch.full((count, count), cosine, dtype=torch.float64).fill_diagonal_(1)
    stream = torch.linalg.cholesky(gram)[None]
    assert measured("token_cosine", stream=stream) == pytest.approx(cosine, abs=1e-14)
    expected = math.sqrt((1 - 1 / count) * (1 - cosine))
    assert measured("rank_one_distance", stream=stream) == pytest.approx(expected, rel=1e-6)


def test_zero_tokens_are_alike_and_unlike_others():
    stream = torch.tensor([[[0.0, 0], [0, 0], [3, 4]]])
    assert measured("token_cosine", stream=stream) == pytest.approx(1 / 3)
    assert measured("token_cosine", stream=torch.zeros(1, 3, 2)) == 1
    assert measured("rank_one_distance", stream=torch.zeros(1, 3, 2)) == 0


@pytest.mark.parametrize("offset", [0.0, 7.0, -1e4])
@pytest.mark.parametrize("count", [2, 5])
def test_attention_that_sees_no_difference_is_even(count, offset):
    logits = torch.full((2, 3, count, count), offset)
    assert measured("logit_std", logits=logits) == pytest.approx(0, abs=1e-12)
    assert measured("attention_entropy", logits=logits) == pytest.approx(1, rel=1e-14)


def test_attention_on_one_key_has_no_entropy():
    logits = 1e4 * torch.eye(4).expand(2, 3, 4, 4)
    assert measured("attention_entropy", logits=logits) == 0
    assert measured("logit_std", logits=logits) == pytest.approx(1e4 * math.sqrt(3) / 4)


def test_attention_on_two_of_four_keys():
    logits = torch.tensor([0.0, 0, -1e3, -1e3]).expand(1, 1, 4, 4)
    assert measured("attention_entropy", logits=logits) == pytest.approx(0.5, rel=1e-14)
    assert measured("logit_std", logits=logits) == pytest.approx(500)


@pytest.mark.parametrize("deviation", [0.05, 0.2, 0.5])
def test_entropy_falls_by_half_the_variance(deviation):
    """H/ln n = 1 − s²/(2 ln n) at high temperature (C26)."""
    count = 1024
    logits = torch.randn(1, 4, count, count, generator=torch.Generator().manual_seed(0))
    logits = logits.double() * deviation
    assert measured("logit_std", logits=logits) == pytest.approx(deviation, rel=5e-3)
    lost = 1 - measured("attention_entropy", logits=logits)
    assert lost == pytest.approx(deviation**2 / (2 * math.log(count)), rel=0.02)


# ---------------------------------------------------------------------- independent loops


def of_sample(name, x, a):
    """A sample's own measurement by its real tokens [n, C] and logits [heads, n, n], in numpy."""
    count = len(x)
    if name == "token_cosine":
        cosines = [
            x[i] @ x[j] / np.linalg.norm(x[i]) / np.linalg.norm(x[j])
            for i, j in itertools.permutations(range(count), 2)
        ]
        return [np.mean(cosines)]
    if name == "rank_one_distance":
        left = x - np.ones((count, 1)) @ np.linalg.lstsq(np.ones((count, 1)), x, rcond=None)[0]
        return [np.linalg.norm(left) / np.linalg.norm(x)]
    rows = a.reshape(-1, count)
    if name == "logit_std":
        return np.var(rows, axis=1)
    return entropy(softmax(rows, axis=1), axis=1) / np.log(count)


def by_loops(name, stream, logits, mask):
    found = []
    for x, a, real in zip(stream.numpy(), logits.numpy(), mask.numpy(), strict=True):
        if real.sum() > 1:
            found += [*of_sample(name, x[real], a[:, real][:, :, real])]
    return np.sqrt(np.mean(found)) if name == "logit_std" else np.mean(found)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", NAMES)
def test_against_loops_over_real_tokens(name, seed):
    stream, logits, mask = batch(seed=seed)
    found = measured(name, stream=stream, logits=logits, mask=mask)
    assert found == pytest.approx(by_loops(name, stream, logits, mask), rel=1e-13)


@pytest.mark.parametrize("content", [1e30, math.inf, math.nan])
@pytest.mark.parametrize("name", NAMES)
def test_padding_has_no_part(name, content):
    stream, logits, mask = batch()
    expected = measured(name, stream=stream, logits=logits, mask=mask)
    stream[~mask] = content
    logits = logits.masked_fill(~(mask[:, None, :, None] & mask[:, None, None]), content)
    assert measured(name, stream=stream, logits=logits, mask=mask) == expected


@pytest.mark.parametrize("name", NAMES)
def test_one_token_is_alike_to_none(name):
    stream, logits, mask = batch()
    assert math.isnan(measured(name, stream=stream[:2], logits=logits[:2], mask=mask[:2]))
    assert math.isnan(measured(name, stream=stream[:, :1], logits=logits[..., :1, :1]))


@pytest.mark.parametrize("name", NAMES)
def test_parts_of_a_batch_make_the_whole(name):
    stream, logits, mask = batch()
    parts = PROBES[name].parts
    gathered = [
        parts.gather(tokens(*(x[rows] for x in (stream, logits, mask))))
        for rows in (slice(0, 2), slice(2, 3), slice(3, 5))
    ]
    joined = parts.join(parts.join(gathered[0], gathered[1]), gathered[2])
    whole = measured(name, stream=stream, logits=logits, mask=mask)
    assert parts.finish(joined).item() == pytest.approx(whole, rel=1e-14)


@every_device
@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_float32_tokens_neither_underflow_nor_overflow(scale, device):
    stream, logits, mask = batch()
    expected = [measured(n, stream=stream, mask=mask) for n in NAMES[:2]]
    small = (stream * scale).float().to(device)
    found = [measured(n, stream=small, mask=mask.to(device)) for n in NAMES[:2]]
    assert found == pytest.approx(expected, rel=1e-6)
    deviation = measured(
        "logit_std", logits=(logits * scale).float().to(device), mask=mask.to(device)
    )
    assert deviation == pytest.approx(
        scale * measured("logit_std", logits=logits, mask=mask), rel=1e-6
    )


# ------------------------------------------------------------------------------ the setting


def test_a_network_without_tokens_is_the_same_run_whatever_is_measured_of_them():
    one, none = (compose([f"probes.tokens={names}"]) for names in ("[token_cosine]", "[]"))
    assert run_id(one) == run_id(none) == run_id(compose([]))
    assert one.probed == one.probes.measure


def test_tokens_are_measured_once_each_in_order():
    given = "probes.tokens=[logit_std,token_cosine,logit_std]"
    assert compose([given]).probes.tokens == ("token_cosine", "logit_std")
    assert compose([]).probes.tokens == NAMES
    assert compose(["probes=verdict"]).probes.tokens == NAMES
    assert compose(["probes=none"]).probes.tokens == ()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            "probes.measure=[delta_rms,token_cosine]",
            "probes.measure=[token_cosine]: is in probes.tokens=[token_cosine]",
        ),
        ("probes.tokens=[act_std]", "probes.tokens=[act_std]: is in probes.measure=[act_std]"),
        ("probes.tokens=[entropy]", "probes.tokens.0=entropy: no such choice; choices: token_c"),
        ("probes.tokens=logit_std", "must be a list"),
    ],
)
def test_each_in_its_place(given, message):
    with pytest.raises(ConfigError) as caught:
        compose([given])
    assert message in str(caught.value)


# ------------------------------------------------------------------------------ a snapshot

ENCODER = compose(["model=encoder", "norm=ln", "model.depth=3", "model.width=8", "model.heads=2"])


@pytest.fixture(scope="module")
def network():
    model = build_model(ENCODER, (1, 5, 4), 3, torch.Generator().manual_seed(0)).double()
    images = torch.randn(9, 1, 5, 4, generator=torch.Generator().manual_seed(1)).double()
    return model, ProbeBatch(images, torch.arange(9) % 3, "softmax")


def by_hand(model, images):
    """The four measurements of every block, from its modules alone."""
    tokens_, mask = model.tokens(images)
    x = model.positions(model.embedding(tokens_))
    found = []
    for block in model.body.values():
        received = block.attention_norm(x, mask)
        attention = block.attention
        logits = attention.logits(attention.query(received), attention.key(received))
        x = block(x, mask)
        real = torch.ones(x.shape[:2], dtype=torch.bool)
        found.append([by_loops(n, x.detach(), logits.detach(), real) for n in NAMES])
    return found


@pytest.mark.parametrize("part_size", [None, 4])
def test_a_snapshot_has_them_in_the_rows_of_their_roles(network, part_size):
    model, batch = network
    layers = weight_layers(model)
    names = ("delta_rms", *NAMES)
    found = snapshot(model, layers, batch, names, part_size)
    alone = snapshot(model, layers, batch, names[:1], part_size)
    assert found[:, 0].tolist() == alone[:, 0].tolist()
    expected = by_hand(model, batch.images)
    for layer, row in zip(layers, found[:, 1:].tolist(), strict=True):
        for name, value in zip(NAMES, row, strict=True):
            if layer.role == PROBES[name].role:
                hand = expected[layer.block - 1][NAMES.index(name)]
                assert value == pytest.approx(hand, rel=1e-10)
            else:
                assert math.isnan(value)


def test_tokens_alone_can_be_measured(network):
    model, batch = network
    layers = weight_layers(model)
    both = snapshot(model, layers, batch, ("act_std", *NAMES))
    for part_size in (None, 4):
        alone = snapshot(model, layers, batch, NAMES, part_size)
        torch.testing.assert_close(alone, both[:, 1:], rtol=1e-12, atol=0, equal_nan=True)
    assert not [module for module in model.modules() if module._forward_hooks]


def padded_images():
    """Five of nine samples with padding in their last rows; the last channel says where."""
    images = torch.randn(9, 1, 5, 4, generator=torch.Generator().manual_seed(1)).double()
    lengths = torch.tensor([5, 3, 4, 2, 5, 5, 1, 4, 5])[:, None]
    real = (torch.arange(5) < lengths)[:, None, :, None].expand(9, 1, 5, 4)
    return torch.cat([images, real.double()], dim=1)


def leaks(*overrides, part_size=None):
    config = compose(["model=encoder", "model.depth=2", "model.width=8", *PADDED, *overrides])
    model = build_model(config, (2, 5, 4), 3, torch.Generator().manual_seed(0)).double()
    layers = weight_layers(model)
    batch = ProbeBatch(padded_images(), torch.arange(9) % 3, "softmax")
    names = ("delta_rms", *NAMES, "padding_leak")
    found = snapshot(model, layers, batch, names, part_size)
    without = snapshot(model, layers, batch, names[:-1], part_size)
    assert torch.equal(found[:, :-1].nan_to_num(-1), without.nan_to_num(-1))
    ends = [layer.index - 1 for layer in layers if layer.role == "feed-forward 2"]
    return model, batch.images, found[ends, -1].tolist()


PADDED = ("data.padding=0.5",)


@pytest.mark.parametrize("norm", ["norm=ln", "norm=rms", "norm=bn norm.masked=true"])
def test_what_is_masked_leaks_nothing(norm):
    assert leaks(*norm.split())[2] == [0.0, 0.0]


@pytest.mark.parametrize("norm", ["norm=bn norm.masked=false", "norm=ln"])
def test_the_leak_is_how_real_tokens_change(norm):
    model, images, found = leaks(*norm.split())
    noise = torch.randn(9, 1, 5, 4, generator=torch.Generator().manual_seed(0)).double()
    real = images[:, 1:] > 0
    other = torch.cat([torch.where(real, images[:, :1], noise), images[:, 1:]], dim=1)
    streams = []
    for given in (images, other):
        cut, mask = model.tokens(given)
        x, seen = model.positions(model.embedding(cut)), []
        for block in model.body.values():
            x = block(x, mask)
            seen.append(x[mask].detach())
        streams.append(seen)
    expected = [((b - a).norm() / a.norm()).item() for a, b in zip(*streams, strict=True)]
    assert found == pytest.approx(expected, rel=1e-9)
    assert (min(found) > 0.05) == (norm != "norm=ln")


def test_the_leak_of_a_batch_in_parts_and_of_data_without_padding(network):
    assert leaks("norm=ln", part_size=4)[2] == [0.0, 0.0]
    model, batch = network
    found = snapshot(model, weight_layers(model), batch, ["padding_leak"])
    assert found.isnan().all()


def test_a_probe_of_tokens_says_how_its_parts_are_joined():
    with pytest.raises(ConfigError, match=r"probe mine: of tokens, needs parts=InParts"):
        Probe("mine", "my own", lambda seen: seen.stream.mean(), role="query")
