"""How long tests wait for what must come: one place, for slow and busy machines.

A wait ends with its condition, so a long deadline costs time only in a run that fails anyway. A test waits for
`PATIENCE` (what `eventually` does by itself) unless what it waits for takes long by a rule of the product: then its
deadline is derived from that rule's interval, and is at least five times what was measured on a quiet machine.
"""

import os

# Set by tests.vm.guests in a guest, whose processor may be emulated.
IN_GUEST = "NODESPAN_VM_GUEST"
_SLOWNESS = 5.0 if IN_GUEST in os.environ else 1.0

# For a process that starts, answers or ends, and for the kernel: these take two seconds at most on a quiet machine.
PATIENCE = 60.0 * _SLOWNESS
# A whole test, which may wait more than once.
TEST_DEADLINE = 180.0 * _SLOWNESS
# One marked `soak`: the longest takes eight minutes where a processor is emulated.
SOAK_DEADLINE = 4 * TEST_DEADLINE
# In virtual time a test that waits for something that never happens jumps here at once, instead of hanging.
VIRTUAL_DEADLINE = 30 * 86400.0
