"""A process that takes part in an election and writes down when it held: `python -m tests.support.etcd_holder ...`.

One JSON object per line: {"holds": whether it does from now on, "at": when, "until": valid_until, "why": a reason}, in
seconds of CLOCK_BOOTTIME, which is the same in all processes of a machine. It writes at each change and each renewal.
"""

# ruff: noqa: T201 (a command of its own: printing is how it speaks)

import argparse
import contextlib
import json

import trio

from nodespan.etcd import Election, EtcdClient, LeaseGoneError, LeaseKeeper, UnavailableError, boot_time, kept_lease


async def hold(endpoints: list[str], prefix: str, ttl: float, settle: float | None) -> None:
    """Take part, one session after the other, for ever."""
    async with EtcdClient(endpoints) as client:
        while True:
            try:
                async with kept_lease(client, ttl) as keeper:
                    election = Election(client, keeper, prefix=prefix, value="holder", settle=settle)
                    leadership = await election.campaign()
                    while True:
                        await keeper.wait_valid()
                        await leadership.confirm()
                        await _held(keeper)
            except (LeaseGoneError, UnavailableError) as error:
                _say(holds=False, why=str(error))
                await trio.sleep(0.1)


async def _held(keeper: LeaseKeeper) -> None:
    async def renew() -> None:
        with contextlib.suppress(LeaseGoneError):
            while True:
                _say(holds=True, until=keeper.valid_until)
                await keeper.wait_renewed()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(renew)
        why = await keeper.wait_invalid()
        nursery.cancel_scope.cancel()
    _say(holds=False, why=why)


def _say(*, holds: bool, until: float = 0.0, why: str = "") -> None:
    print(json.dumps({"holds": holds, "at": boot_time(), "until": until, "why": why}), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prefix", required=True)
    parser.add_argument("--ttl", type=float, required=True)
    parser.add_argument("--settle", type=float)
    parser.add_argument("endpoints", nargs="+")
    given = parser.parse_args()
    trio.run(hold, given.endpoints, given.prefix, given.ttl, given.settle)
