"""What the agent reports about its access to the kernel."""

from nodespan.kernel.privileges import missing_privileges
from nodespan.runtime.about import About

ABOUT = About(limitations=missing_privileges)
