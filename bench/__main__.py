"""`make bench`: measures and prints a table; ends with status 1 if a ratio is above its limit."""

import sys

from bench import discovery, engine, etcd, kubespan, network, remote, sqlite, state
from nodespan.runtime.process import garbage


def main() -> int:
    garbage.tune()  # as the agent does
    print(f"{'what':<66} {'ours':>9} {'baseline':>9} {'':<5} {'ratio':>6} {'limit':>6}")
    good = True
    families = (state, sqlite, etcd, engine, kubespan, network, discovery, remote)
    for measure in (measure for family in families for measure in family.FIGURES):
        figure = measure()
        mark = "" if figure.holds else "  above the limit"
        good = good and figure.holds
        print(
            f"{figure.what:<66} {figure.ours:>9.3g} {figure.baseline:>9.3g} {figure.unit:<5}"
            f" {figure.ratio:>6.2f} {figure.limit:>6}{mark}",
            flush=True,
        )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
