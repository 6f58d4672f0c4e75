"""secrets.RootOSController: the authority of the API and what belongs to it, from the configuration."""

from ipaddress import ip_address
from typing import TYPE_CHECKING

from nodespan.controllers.common.problems import Problems
from nodespan.controllers.secrets.errors import CertificateError
from nodespan.resources.config import MACHINE_CONFIG_ID, MachineConfig, MachineConfigSpec
from nodespan.resources.network import NetworkProblem
from nodespan.resources.secrets import OS_ROOT_ID, CertificateAndKey, OSRoot, OSRootSpec
from nodespan.runtime.controller import Controller, ControllerContext, exclusive, shared, weak

if TYPE_CHECKING:
    from nodespan.controllers.secrets.key_pair import KeyPair


def os_root(config: MachineConfigSpec) -> OSRootSpec | None:
    """What the configuration says; None without an authority. Raises CertificateError, which names the key."""
    machine = config.machine
    if machine.ca is None or not machine.ca.crt:
        return None
    issuing = _pair("machine.ca", machine.ca.crt, machine.ca.key)
    accepted = [issuing.certificate.decode()]
    for index, authority in enumerate(machine.accepted_cas):
        accepted.append(_pair(f"machine.acceptedCAs[{index}]", authority.crt, "").certificate.decode())
    ips, names = split_names(machine.cert_sans)
    return OSRootSpec(
        issuing_ca=CertificateAndKey(crt=issuing.certificate.decode(), key=issuing.key.decode()),
        accepted_cas=tuple(dict.fromkeys(accepted)),
        cert_san_ips=ips,
        cert_san_dns_names=names,
        token=machine.token,
    )


def split_names(names: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The addresses among them, and the others."""
    addresses, others = [], []
    for name in names:
        try:
            addresses.append(str(ip_address(name)))
        except ValueError:
            others.append(name)
    return tuple(addresses), tuple(others)


def _pair(key: str, certificate: str, private: str) -> "KeyPair":
    # Only a node with an authority pays for OpenSSL.
    from nodespan.controllers.secrets.key_pair import KeyPair, check_pair, decode_pem

    try:
        pair = KeyPair(decode_pem(certificate), decode_pem(private))
        check_pair(pair)
        pair.certificate.decode("ascii"), pair.key.decode("ascii")
    except CertificateError as error:
        raise CertificateError(f"{key} {error}") from error
    except UnicodeDecodeError as error:
        raise CertificateError(f"{key} holds other characters than PEM has") from error
    return pair


class RootOSController(Controller):
    """Writes `os` while the configuration has an authority that can be used.

    Without one, an API that is to listen is a problem.
    """

    name = "secrets.RootOSController"
    inputs = (weak(MachineConfig, MACHINE_CONFIG_ID),)
    outputs = (exclusive(OSRoot), shared(NetworkProblem))

    async def run(self, ctx: ControllerContext) -> None:
        """Follow the configuration."""
        problems = Problems(ctx, OSRoot)
        async for _ in ctx:
            async with ctx.tracked_outputs(OSRoot):
                config = ctx.find(MachineConfig, MACHINE_CONFIG_ID)
                if config is None:
                    await problems.show({})
                    continue
                reason = ""
                try:
                    root = os_root(config.spec)
                except CertificateError as error:
                    root, reason = None, f"api.listen is set, but {error}"
                else:
                    if root is None:
                        reason = "api.listen is set, but machine.ca is missing: `nodespan gen config` makes one"
                # Without an API nobody uses the authority.
                shown = {OS_ROOT_ID: reason} if reason and config.spec.nodespan.api.listen else {}
                await problems.show(shown, loud=frozenset(shown))
                if root is not None:
                    await ctx.put(OSRoot, OS_ROOT_ID, root)
