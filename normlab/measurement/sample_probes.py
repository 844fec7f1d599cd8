"""Measurements of how alike a batch's samples are to a layer, forward and backward."""

from typing import TYPE_CHECKING

from normlab.config import InParts
from normlab.measurement.probes import added, enter, is_padded, without_padding

if TYPE_CHECKING:
    from torch import Tensor

    from normlab.measurement.observation import Observation
    from normlab.measurement.probes import Gathered

# A vector less its mean that is so much shorter than it was is the rounding of equal entries, 2e-15
# of 1e6; where one of them differs in float32's last digit 6e-11 is left.
ROUNDED = 1e-12

# -------------------------------------------------------------------- cosines between samples


def _directions(seen: "Observation", x: "Tensor") -> "Gathered":
    """Σᵢ xᵢ/‖xᵢ‖ over samples in which a layer's tensor x is not all zero, how many others, and
    all, are; of padded samples [B, T, units] for each of the T positions, over samples in which it
    is real."""
    import torch

    if seen.real is not None and is_padded(seen, x):
        x = without_padding(seen, x, 0)
        norms = torch.linalg.vector_norm(x, dim=2)
        total = (torch.where(norms == 0, 0, 1 / norms)[:, :, None] * x).sum(dim=0)
        return total, (seen.real & (norms == 0)).sum(dim=0), seen.real.sum(dim=0).to(norms)
    x = x.flatten(1)
    norms = torch.linalg.vector_norm(x, dim=1)
    return torch.where(norms == 0, 0, 1 / norms) @ x, (norms == 0).sum(), norms.new_tensor(len(x))


def _wide(x: "Tensor") -> "Tensor":
    from normlab.measurement.norms import accumulator

    return x.to(accumulator(x))


def _of_activations(seen: "Observation") -> "Gathered":
    return _directions(seen, _wide(seen.activation))


def sample_cosine(gathered: "Gathered") -> "Tensor":
    """Mean cosine between different samples' activations a: mean over i ≠ j of aᵢ·aⱼ/(‖aᵢ‖‖aⱼ‖).

    Near 1 the layers up to here have forgotten the input. Two zero vectors, being alike, count 1;
    a zero and another vector count 0. Of padded samples the mean over t, too, a the t-th token,
    where it is real in both. NaN without a pair.
    """
    import torch

    total, zeros, samples = gathered
    same = (samples - zeros).sum()
    products = total.square().sum() - same + (zeros * (zeros - 1)).sum()
    pairs = (samples * (samples - 1)).sum()
    return torch.where(pairs > 0, products / pairs, torch.nan)


def _of_centred_activations(seen: "Observation") -> "Gathered":
    import torch

    a = _wide(seen.activation)
    a = a if is_padded(seen, a) else a.flatten(1)
    centred = a - a.mean(dim=-1, keepdim=True)
    lengths, left = (torch.linalg.vector_norm(x, dim=-1, keepdim=True) for x in (a, centred))
    return _directions(seen, torch.where(left <= ROUNDED * lengths, 0, centred))


def centred_cosine(gathered: "Gathered") -> "Tensor":
    """Mean correlation between different samples' activations: the mean over i ≠ j of
    cᵢ·cⱼ/(‖cᵢ‖‖cⱼ‖), cᵢ = aᵢ − mean of aᵢ over its n units (C·H·W of a convolution).

    `sample_cosine` without what all units have in common: a sigmoid's ½ or a rectifier's positive
    mean make it near 1 where samples differ. The mean that is taken off is a sample's own. Without
    that of the batch in each unit Σᵢ cᵢ = 0, and vectors of one length have a mean cosine of
    −1/(B−1), whatever a network does. Zero vectors, here those of equal entries, and padding as in
    `sample_cosine`.
    """
    return sample_cosine(gathered)


def _of_deltas(seen: "Observation") -> "Gathered":
    return _directions(seen, _wide(seen.delta))


def gradient_cosine(gathered: "Gathered") -> "Tensor":
    """Mean cosine between different samples' δᵢ = ∂L/∂zᵢ: mean over i ≠ j of δᵢ·δⱼ/(‖δᵢ‖‖δⱼ‖).

    Near 0 what one sample asks of a layer has nothing to do with what another does: shattered
    gradients (Balduzzi et al. 2017); below 0 they ask for the opposite. Samples without a gradient
    have no direction and are left out. Under BatchNorm, where samples are coupled, δᵢ is of the
    batch's loss. Padding as in `sample_cosine`. NaN without a pair.
    """
    import torch

    total, zeros, samples = gathered
    counted = samples - zeros
    pairs = (counted * (counted - 1)).sum()
    return torch.where(pairs > 0, (total.square().sum() - counted.sum()) / pairs, torch.nan)


enter("sample_cosine", "cosine between samples", InParts(_of_activations, added, sample_cosine))
enter(
    "centred_cosine",
    "correlation between samples",
    InParts(_of_centred_activations, added, centred_cosine),
    short="correlation",
)
enter(
    "gradient_cosine",
    "cosine between samples' gradients",
    InParts(_of_deltas, added, gradient_cosine),
    short="δ cosine",
)

# ---------------------------------------------------------------------------- effective rank


def _rows(seen: "Observation") -> "Gathered":
    """A matrix of at most as many rows as units, with the singular values of the activations."""
    import torch

    a = without_padding(seen, seen.activation, 0)
    # Rows are kept until all parts have been seen: in the network's own type, which is not wider.
    a = a.to(torch.promote_types(seen.delta.dtype, torch.float32))
    return _compressed(a.flatten(0, 1) if a.ndim == 3 else a.flatten(1))


def _compressed(rows: "Tensor") -> "Gathered":
    """R of QR, whose singular values are the rows', where there are more rows than units."""
    import torch

    if len(rows) <= rows.shape[1]:
        return (rows,)
    return (torch.linalg.qr(_wide(rows), mode="r").R,)


def _together(one: "Gathered", other: "Gathered") -> "Gathered":
    import torch

    return _compressed(torch.cat([one[0], other[0]]))


def effective_rank(gathered: "Gathered") -> "Tensor":
    """exp(−Σₖ pₖ ln pₖ), pₖ = σₖ/Σσ of the singular values σ of the activations [B, n] of B samples
    and n units (C·H·W of a convolution), not centred (Roy & Vetterli 2007).

    Over how many directions samples spread: 1 where all are alike up to their length, at most
    min(B, n). Of tokens [B, T, n] each real one is a row. 0 where all is 0, NaN where something is
    not finite.
    """
    import torch

    (rows,) = gathered
    bad = ~rows.isfinite().all()
    rows = _wide(torch.where(bad, 0, rows))
    small = torch.linalg.qr(rows.T, mode="r").R if len(rows) < rows.shape[1] else rows
    values = torch.linalg.svdvals(small)
    total = values.sum()
    shares = values / torch.where(total == 0, 1, total)
    found = torch.special.entr(shares).sum().exp()
    return torch.where(bad, torch.nan, torch.where(total == 0, 0, found))


enter(
    "effective_rank",
    "effective rank",
    InParts(_rows, _together, effective_rank),
    short="eff. rank",
)
