"""`make soak`, or `python -m tests.soak [TIMES]`: root, an hour or so."""

import sys

import trio

from tests.soak import vip
from tests.support import run


def main(times: int) -> int:
    directory = run.begin()
    try:
        trio.run(vip.soak, times)
    finally:
        left = run.leftovers(directory)
    for line in left:
        print(f"left behind, now removed: {line}", file=sys.stderr)
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else vip.TIMES))
