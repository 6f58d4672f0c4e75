"""Helpers shared by the tests. From here on the administrator's tools are on the path, which not every shell does."""

import os

os.environ["PATH"] = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
