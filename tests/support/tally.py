"""The last line of `make test`: the results of all tiers added up, in the words of pytest's own closing line.

Called with the JUnit files that the tiers wrote. A tier without a file, or with no test in it, is a failure: it broke
or was cut off. The tests that it did not run are named, by the progress file beside.
"""

# ruff: noqa: T201 (a command of its own: printing is how it speaks)

import sys
from pathlib import Path
from xml.etree import ElementTree

from tests.support.progress import unfinished

OUTCOMES = ("failed", "passed", "skipped", "errors")


def tally(files: list[Path]) -> tuple[dict[str, int], float, list[str]]:
    """Tests by outcome, seconds, and the complaints about tiers that ran nothing."""
    counts = dict.fromkeys(OUTCOMES, 0)
    seconds = 0.0
    complaints = []
    for file in files:
        suites = list(ElementTree.parse(file).iter("testsuite")) if file.exists() else []
        if sum(int(suite.attrib["tests"]) for suite in suites) == 0:
            complaints.append(f"the {file.stem} tier ran no test")
        if not file.exists():
            complaints += [f"not finished: {name}" for name in unfinished(file.with_suffix(".progress"))]
        for suite in suites:
            number = {key: int(suite.attrib[key]) for key in ("tests", "failures", "errors", "skipped")}
            counts["failed"] += number["failures"]
            counts["errors"] += number["errors"]
            counts["skipped"] += number["skipped"]
            counts["passed"] += number["tests"] - number["failures"] - number["errors"] - number["skipped"]
            seconds += float(suite.attrib["time"])
    return counts, seconds, complaints


def main(files: list[Path]) -> int:
    counts, seconds, complaints = tally(files)
    for complaint in complaints:
        print(complaint)
    # A tier that broke counts as an error, so that the line alone tells the truth.
    counts["errors"] += sum(complaint.endswith("ran no test") for complaint in complaints)
    words = ", ".join(f"{counts[outcome]} {outcome}" for outcome in OUTCOMES if counts[outcome])
    if counts["errors"] == 1:
        words = words.removesuffix("s")
    print("all tiers:")
    print(f" {words} in {seconds:.2f}s ".center(80, "="))
    return 1 if counts["failed"] or counts["errors"] else 0


if __name__ == "__main__":
    sys.exit(main([Path(name) for name in sys.argv[1:]]))
