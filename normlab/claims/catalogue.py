"""The claims that there are: normlab's own, and those that a person names."""

from collections.abc import Sequence
from pathlib import Path

from normlab.claims.claim import Claim, claim_ids, own_claim, read_claim
from normlab.errors import ConfigError

CLAIMS: dict[str, Claim] = {name: own_claim(name) for name in claim_ids()}


def find_claims(names: Sequence[str]) -> list[Claim]:
    """The claims that a person names by id or by a YAML file; raises ConfigError for others."""
    found = []
    for name in names:
        if name.endswith((".yaml", ".yml")):
            found.append(read_claim(Path(name)))
        elif name.upper() in CLAIMS:
            found.append(CLAIMS[name.upper()])
        else:
            raise ConfigError(
                f"{name}: no such claim; choices: {', '.join(CLAIMS)}, or a YAML file of your own"
            )
    several = {claim.id: claim for claim in found}
    for claim in found:
        if several[claim.id] != claim:
            raise ConfigError(
                f"{claim.file}: has the id {claim.id} of another claim; give it its own"
            )
    return list(several.values())
