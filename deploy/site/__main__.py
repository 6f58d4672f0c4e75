"""`python -m deploy.site`: makes the documentation site in `dist/site`."""

import argparse
import sys
from pathlib import Path

from deploy.errors import BuildError
from deploy.site.build import build


def main(arguments: list[str] | None = None) -> int:
    """Make the site; prints where it is."""
    parser = argparse.ArgumentParser(prog="python -m deploy.site", description="Make the documentation site.")
    parser.add_argument("--output", metavar="DIR", type=Path, default=Path("dist/site"), help="(%(default)s)")
    parser.add_argument("--work", metavar="DIR", type=Path, default=Path(".cache/site"), help="(%(default)s)")
    parser.add_argument(
        "--draft", action="store_true", help="without the colours of code, which are a quarter of the work"
    )
    options = parser.parse_args(arguments)
    try:
        site = build(options.work, options.output, draft=options.draft)
    except BuildError as error:
        print(f"deploy.site: {error}", file=sys.stderr)
        return 1
    print(f"{site}/index.html; over HTTP: python3 -m http.server --bind 127.0.0.1 --directory {options.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
