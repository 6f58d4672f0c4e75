"""Helpers shared by the tests; from here on the administrator's tools are on the path, as not in every shell they are."""

import os

os.environ["PATH"] = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
