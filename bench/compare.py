"""`make bench-compare BASE=ref`: the figures of this tree against those of a commit, and what has become worse.

Both trees are measured in turn by the measurements of this one, several times. A figure is worse (or better) if its
best round differs by more than its noise, which is what the rounds of one tree differ among themselves. One that only
this tree fails to measure is worse, too.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import attrs

ROOT = Path(__file__).resolve().parents[1]
# Smaller differences are not believed, however well the rounds agree.
LEAST_NOISE = 0.05
# What the measurements import beside the tree that is measured.
_OURS = ("bench", "tests")


@attrs.frozen
class Change:
    """One figure of both trees: the best of the rounds, and the noise as a part of it."""

    what: str
    unit: str
    before: float
    after: float
    noise: float

    @property
    def verdict(self) -> str:
        """What the table says of it."""
        if self.after > self.before * (1 + self.noise):
            return "WORSE"
        return "better" if self.before > self.after * (1 + self.noise) else ""


@attrs.frozen
class Failure:
    """A figure that a round of one of the trees could not measure, and the first errors; "" where there is none."""

    name: str
    before: str
    after: str

    @property
    def is_worse(self) -> bool:
        """Whether it is this tree that fails."""
        return bool(self.after) and not self.before

    def __str__(self) -> str:
        where = "before and after" if self.before and self.after else "before" if self.before else "after"
        verdict = "  WORSE" if self.is_worse else ""
        return f"{self.name:<72} cannot be measured {where}: {self.after or self.before}{verdict}"


def change(what: str, unit: str, before: Iterable[float], after: Iterable[float]) -> Change:
    """A figure of the rounds of both trees."""
    rounds = (sorted(before), sorted(after))
    spreads = [each[-1] / each[0] - 1 if each[0] else 0.0 for each in rounds]
    return Change(what, unit, rounds[0][0], rounds[1][0], max(LEAST_NOISE, *spreads))


@contextmanager
def _worktree(reference: str, directory: Path) -> Iterator[Path]:
    tree = directory / "tree"
    git = ("git", "-C", str(ROOT), "worktree")
    made = subprocess.run(
        [*git, "add", "--quiet", "--detach", str(tree), reference], check=False, stderr=subprocess.PIPE, text=True
    )
    if made.returncode != 0:
        sys.exit(f"{reference} cannot be checked out: {made.stderr.strip()}")
    try:
        yield tree
    finally:
        subprocess.run([*git, "remove", "--force", str(tree)], check=True)


def _beside_our_measurements(tree: Path, directory: Path) -> Path:
    """A directory in which `nodespan` is that of the tree, and the measurements are ours."""
    directory.mkdir()
    (directory / "nodespan").symlink_to(tree / "nodespan")
    for name in _OURS:
        (directory / name).symlink_to(ROOT / name)
    return directory


def _measured(directory: Path, names: Iterable[str]) -> dict[str, dict[str, object]]:
    """The figures of one run, by name; of one that could not be measured there is an `error`."""
    results = directory / "results.json"
    command = [sys.executable, "-m", "bench", "--json", str(results), *names]
    run = subprocess.run(
        command, cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if not results.exists():
        sys.exit(f"the measurements of {directory.name} failed:\n{run.stdout}")
    found = json.loads(results.read_text())
    results.unlink()
    expected = str((directory / "nodespan").resolve().parent)
    if found["tree"] != expected:
        sys.exit(f"measured {found['tree']} instead of {expected}")
    return {row["name"]: row for row in found["rows"]}


def changes(rounds: Mapping[str, list[dict[str, dict[str, object]]]]) -> Iterator[Change | Failure]:
    """The figures in their order."""
    for name in dict.fromkeys(name for each in rounds["after"] + rounds["before"] for name in each):
        before, after = ([run[name] for run in rounds[side] if name in run] for side in ("before", "after"))
        errors = [[str(row["error"]) for row in side if "error" in row] for side in (before, after)]
        if any(errors):
            yield Failure(name, *(side[0] if side else "" for side in errors))
            continue
        values = [[float(str(row["ours"])) for row in side] for side in (before, after)]
        yield change(str(after[0]["what"]), str(after[0]["unit"]), *values)


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench-compare", description=__doc__)
    parser.add_argument("base", help="the commit to compare with")
    parser.add_argument("names", nargs="*", help="families and figures to measure, everything by default")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each tree (default: %(default)s)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary, _worktree(given.base, Path(temporary)) as tree:
        sides = {
            "before": _beside_our_measurements(tree, Path(temporary) / "before"),
            "after": _beside_our_measurements(ROOT, Path(temporary) / "after"),
        }
        rounds: dict[str, list[dict[str, dict[str, object]]]] = {side: [] for side in sides}
        for number in range(given.rounds):
            # The order changes, so that neither has always the warmer machine.
            for side in sides if number % 2 == 0 else reversed(sides):
                print(f"round {number + 1} of {given.rounds}: {side}", file=sys.stderr, flush=True)
                rounds[side].append(_measured(sides[side], given.names))
    print(f"{'what':<72} {'before':>9} {'after':>9} {'':<5} {'change':>7} {'noise':>6}")
    worse = 0
    for each in changes(rounds):
        if isinstance(each, Failure):
            worse += each.is_worse
            print(each)
            continue
        worse += each.verdict == "WORSE"
        by = each.after / each.before - 1 if each.before else 0.0
        print(
            f"{each.what:<72} {each.before:>9.3g} {each.after:>9.3g} {each.unit:<5} {by:>+7.0%} {each.noise:>6.0%}"
            f"  {each.verdict}".rstrip()
        )
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
