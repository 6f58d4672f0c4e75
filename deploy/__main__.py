"""`python -m deploy`: builds the packages."""

import argparse
import sys
import tempfile
from pathlib import Path

from deploy import deb, rpm
from deploy.epoch import source_date_epoch
from deploy.errors import BuildError
from deploy.tree import Release, project_version, stage

KINDS = {"deb": deb.build, "rpm": rpm.build}


def main(arguments: list[str] | None = None) -> int:
    """Build what the arguments name; prints a line per package."""
    parser = argparse.ArgumentParser(prog="python -m deploy", description="Build the packages of this tree.")
    parser.add_argument("kinds", metavar="KIND", nargs="*", default=["deb", "rpm"], help="deb, rpm; default: both")
    parser.add_argument("--output", metavar="DIR", type=Path, default=Path("dist"), help="(%(default)s)")
    parser.add_argument("--cache", metavar="DIR", type=Path, default=Path(".cache/deploy"), help="(%(default)s)")
    parser.add_argument("--architecture", choices=("amd64", "arm64"), default=deb.own_architecture())
    parser.add_argument("--version", default=project_version(), help="(%(default)s)")
    parser.add_argument("--fast", action="store_true", help="do not compress: for tests")
    options = parser.parse_args(arguments)
    if unknown := set(options.kinds) - set(KINDS):
        parser.error(f"{', '.join(sorted(unknown))}: give deb or rpm")
    release = Release(
        version=options.version, architecture=options.architecture, epoch=source_date_epoch(), fast=options.fast
    )
    try:
        options.output.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as work:
            tree = Path(work, "tree")
            stage(tree, release, cache=options.cache)
            for kind in options.kinds:
                print(KINDS[kind](tree, release, output=options.output))
    except BuildError as error:
        print(f"deploy: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
