"""`make bench`: measures, prints a table; ends with status 1 if a ratio is above its limit or could not be measured.

`ARGS` may name families and figures (`ARGS='engine state.update'`). `--json FILE` says where the figures are written
too. `--sizes` prints what operations cost by the number of resources instead.
"""

import argparse
import json
import logging
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import structlog

import nodespan.runtime
from bench import (
    agent,
    discovery,
    discovery_load,
    dns,
    engine,
    etcd,
    idle,
    kubespan,
    network,
    packet_filter,
    relay,
    remote,
    sizes,
    sqlite,
    state,
)
from bench.measure import Figure
from nodespan.runtime.process import garbage

FAMILIES = {
    module.__name__.rpartition(".")[2]: module
    for module in (
        state,
        sqlite,
        etcd,
        engine,
        kubespan,
        network,
        packet_filter,
        discovery,
        discovery_load,
        dns,
        relay,
        remote,
        agent,
        idle,
    )
}
RESULTS = Path(".cache/bench.json")


def main() -> int:
    # So that agents and namespaces end with this, by whatever it is ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"what to measure, of {', '.join(FAMILIES)}; everything by default")
    parser.add_argument(
        "--json", type=Path, default=RESULTS, help="where the figures are written (default: %(default)s)"
    )
    parser.add_argument("--sizes", action="store_true", help="costs by the number of resources instead")
    given = parser.parse_args()
    garbage.tune()  # as the agent does
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    if given.sizes:
        sizes.print_table()
        return 0
    measures = _measures(given.names)
    print(f"{'what':<72} {'ours':>9} {'baseline':>9} {'':<5} {'ratio':>6} {'goal':>6}")
    rows = [_row(name, measure) for name, measure in measures.items()]
    given.json.parent.mkdir(parents=True, exist_ok=True)
    tree = str(Path(nodespan.runtime.__file__).resolve().parents[1])
    given.json.write_text(json.dumps({"tree": tree, "python": sys.version, "rows": rows}, indent=1) + "\n")
    return 0 if all(row["holds"] for row in rows) else 1


def _measures(names: Iterable[str]) -> dict[str, Callable[[], Figure]]:
    """The measurements that these families and figures name, by name."""
    all_of_them = {
        f"{family}.{measure.__name__}": measure for family, module in FAMILIES.items() for measure in module.FIGURES
    }
    wanted = set(names)
    chosen = {
        name: measure
        for name, measure in all_of_them.items()
        if not wanted or not wanted.isdisjoint((name, name.partition(".")[0]))
    }
    if unknown := wanted - FAMILIES.keys() - all_of_them.keys():
        sys.exit(f"no such figures: {' '.join(sorted(unknown))}; there are {' '.join((*FAMILIES, *all_of_them))}")
    return chosen


def _row(name: str, measure: Callable[[], Figure]) -> dict[str, Any]:
    """Measure one figure and print it; a failure is a line of its own, and the other figures are measured."""
    started = time.perf_counter()
    try:
        figure = measure()
    except Exception as error:
        traceback.print_exc()
        print(f"{name:<72} could not be measured", flush=True)
        return {"name": name, "error": f"{type(error).__name__}: {error}", "holds": False}
    print(
        f"{figure.what:<72} {figure.ours:>9.3g} {figure.baseline:>9.3g} {figure.unit:<5}"
        f" {figure.ratio:>6.2f} {figure.aim:>6g}  {figure.mark}".rstrip(),
        flush=True,
    )
    return {
        "name": name,
        "what": figure.what,
        "ours": figure.ours,
        "baseline": figure.baseline,
        "unit": figure.unit,
        "ratio": figure.ratio,
        "limit": figure.limit,
        "goal": figure.aim,
        "holds": figure.holds,
        "seconds": round(time.perf_counter() - started, 1),
    }


if __name__ == "__main__":
    sys.exit(main())
