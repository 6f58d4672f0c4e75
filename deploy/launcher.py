#!/usr/bin/python3 -IS
"""Starts nodespan from its own directory: what other packages install, and where the user is, makes no difference."""

import sys

# Controllers of the administrator's own: pip install --target /usr/local/lib/nodespan --no-deps PACKAGE
sys.path = ["/usr/lib/nodespan", *sys.path, "/usr/local/lib/nodespan"]

from nodespan.runtime.cli import main  # noqa: E402

sys.exit(main())
