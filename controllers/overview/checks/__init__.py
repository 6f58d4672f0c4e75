"""The checks of `nodespan doctor`: what nodespan needs of a machine, and how to give it that.

They read files below a root and outputs of programs, and judge them by functions of values; only the checks of
services open connections.
"""

from nodespan.controllers.overview.checks import machine, network, services
from nodespan.runtime.overview.check import Check

# What the entry point stands for, in the order of what depends on what.
CHECKS = (
    Check(name="agent", order=100, run=services.agent),
    Check(name="configuration", order=110, run=services.configuration),
    Check(name="privileges", order=200, run=machine.privileges),
    Check(name="disk", order=210, run=machine.disk),
    Check(name="kernel", order=220, run=machine.kernel),
    Check(name="modules", order=230, run=machine.modules),
    Check(name="nft", order=240, run=machine.nft),
    Check(name="clock", order=250, run=machine.clock),
    Check(name="sysctls", order=260, run=machine.sysctls),
    Check(name="managers", order=300, run=network.managers),
    Check(name="ports", order=310, run=network.ports),
    Check(name="mtu", order=320, run=network.mtu),
    Check(name="firewall", order=330, run=network.firewall),
    Check(name="certificates", order=400, run=services.certificates),
    Check(name="discovery", order=410, run=services.discovery),
    Check(name="etcd", order=420, run=services.etcd),
)
