"""Claims while their runs are made."""

from normlab.runs import Outcome
from normlab.show.terminal.claims_so_far import ClaimsSoFar
from tests.show.terminal.printing import printed


def test_a_claim_is_judged_once_when_its_last_run_ends() -> None:
    judged: list[str] = []

    def judge(claim: str) -> str:
        judged.append(claim)
        return "PASS" if claim == "C14" else "FAIL"

    # Claims may share runs.
    claims = ClaimsSoFar({"C14": {"a", "b"}, "C17": {"b", "c"}}, judge)
    seen = []
    for identity in ("a", "b", "other", "c", "c"):
        claims.ended(Outcome(identity, "failed"))
        seen.append((list(judged), printed(claims.drawn((), 80, 5))))
    assert seen == [
        ([], ["C14 1/2 runs   C17 0/2 runs"]),
        (["C14"], ["C14 PASS   C17 1/2 runs"]),
        (["C14"], ["C14 PASS   C17 1/2 runs"]),
        (["C14", "C17"], ["C14 PASS   C17 FAIL"]),
        (["C14", "C17"], ["C14 PASS   C17 FAIL"]),
    ]


def test_where_not_all_fit_those_that_wait_for_runs_at_work_are_shown() -> None:
    claims = ClaimsSoFar({f"C{i:02}": {str(i)} for i in range(20)}, lambda _: "PASS")
    everything = printed(claims.drawn({"13"}, 80, 9))
    assert everything[0].startswith("C00 0/1 runs   C01 0/1 runs")
    assert "C19" in everything[-1]
    assert printed(claims.drawn({"13"}, 40, 2), 40) == ["C13 0/1 runs"]
    for i in range(18):
        claims.ended(Outcome(str(i), "finished"))
    assert printed(claims.drawn({"13"}, 40, 2), 40) == ["C18 0/1 runs   C19 0/1 runs"]
