"""What an agent loads, and when: counted in modules, for memory and the time of a start follow from those."""

import datetime
import os
import re
import subprocess
import sys
import types
from pathlib import Path

import pytest
import trio

from nodespan.controllers.secrets.authority import new_authority
from nodespan.controllers.secrets.key_pair import encode_pem
from nodespan.runtime.loading import load
from tests.conftest import LOADED_LATER
from tests.support.deadlines import PATIENCE

ROOT = Path(__file__).parents[2]
# Never in an agent: they are for clients, for tests, or were too heavy for what they were used for.
NEVER = (
    "argparse",
    "asyncio.events",
    "colorama",
    "grpc",
    "hypothesis",
    "prometheus_client",
    "pyroute2",
    "pytest",
    "rich",
    "unittest",
)
# Only when a configuration or a client asks for it.
LATER = (
    *("cryptography", "dns", "email", "google.protobuf", "h11", "h2", "http", "idna.core", "ruamel.yaml", "sqlite3"),
    *("_bz2", "_lzma", "_ssl", "calendar", "difflib", "glob", "importlib.metadata._meta", "ntpath", "stringprep"),
    *("structlog.stdlib", "structlog.threadlocal", "uuid", "zipfile"),
    "nodespan.controllers.api.serving",
    "nodespan.controllers.common.cel",
    "nodespan.controllers.config.apply",
    "nodespan.controllers.config.loading",
    "nodespan.controllers.config.rules",
    "nodespan.controllers.dns.serving",
    "nodespan.controllers.host.kernel_parameters",
    "nodespan.controllers.host.names.registry",
    "nodespan.controllers.host.names.resolved",
    "nodespan.controllers.network.apply.ethernet_plan",
    "nodespan.controllers.kubespan.mapping",
    "nodespan.controllers.kubespan.relaying",
    "nodespan.controllers.network.config.ingress_chains",
    "nodespan.controllers.network.dhcp",
    "nodespan.controllers.network.probes.attempts",
    "nodespan.controllers.network.status.ethernet_facts",
    "nodespan.controllers.network.vip.clouds",
    "nodespan.controllers.network.vip.operator",
    "nodespan.controllers.secrets.authority",
    "nodespan.discovery.client",
    "nodespan.discovery.relay",
    "nodespan.etcd",
    "nodespan.kernel.hardware.ethtool_netlink",
    "nodespan.kernel.packet_filter.connections",
    "nodespan.resources.wire",
    "nodespan.runtime.api.cosi",
    "nodespan.runtime.api.grpc",
    "nodespan.runtime.api.exposition",
    "nodespan.runtime.api.http_server",
    "nodespan.runtime.api.rows",
    "nodespan.runtime.api.user_resources",
    "nodespan.runtime.state.sqlite",
    "nodespan.runtime.text.jsonpath",
)
WITH_DISCOVERY = (
    *("_ssl", "cryptography", "difflib", "google.protobuf", "h2", "ruamel.yaml"),
    "nodespan.controllers.config.loading",
    "nodespan.controllers.config.rules",
    "nodespan.discovery.client",
    "nodespan.runtime.api.grpc",
)
WITH_API = (
    "_ssl",
    "nodespan.controllers.api.serving",
    "nodespan.controllers.secrets.issuing",
    "nodespan.runtime.certificate",
)
# What issues certificates is loaded by a process that ends.
NOT_WITH_API = ("cryptography.x509", "nodespan.controllers.secrets.authority", "nodespan.controllers.secrets.errands")
MOST_MODULES = 760
# A fifth of the methods that attrs generates are used by a start.
MOST_COMPILED = 0.3
CONFIGURATION = """
cluster:
  id: 8XuV9TZHW08DOk3bVxQjH9ih_TBKjnh-j44tsCLSBzo=
  secret: 7dcjbfCdvrlGIgLvKVlZ0dsxDwD5Hs0hRwnW4Ba0Cmc=
  discovery: {enabled: true, registries: {service: {endpoint: "https://192.0.2.1:3000/"}}}
"""
# Of each test process its own address: the agent listens.
API = """
machine: {{type: controlplane, token: abcdef.0123456789abcdef, ca: {{crt: {crt}, key: {key}}}}}
---
apiVersion: v1alpha1
kind: TrustedRootsConfig
name: own
certificates: |
  {roots}
---
{{apiVersion: nodespan.dev/v1alpha1, kind: NodespanConfig, api: {{listen: "127.98.{number}.1:50000"}}}}
"""
AGENT = """
import sys
from nodespan.runtime.process import lean, unneeded
lean.prepare()
from pathlib import Path
import trio
from nodespan.runtime.process.generated_methods import Pending
from nodespan.runtime.agent import Agent, AgentOptions
from nodespan.resources.cluster import DiscoveryServiceStatus
from nodespan.resources.secrets import APICertificate
from nodespan.resources.trust import TrustedRoot

directory, configuration, api = Path(sys.argv[1]), sys.argv[2], sys.argv[3]

def loaded():
    return sorted(name for name, module in sys.modules.items() if not isinstance(module, unneeded._StandIn))

async def main():
    options = AgentOptions(socket=directory / "s", state_dir=directory / "state", root=directory / "root")
    agent = Agent(options, version="0")
    with trio.fail_after(float(sys.argv[4])):
        async with trio.open_nursery() as nursery:
            await nursery.start(agent.run)
            print("MODULES", *loaded())
            classes = [cls for cls in object.__subclasses__() if hasattr(cls, "__attrs_attrs__")]
            methods = [method for cls in classes for method in vars(cls).values()]
            pending = sum(isinstance(method, Pending) for method in methods)
            compiled = sum(str(getattr(method, "__doc__", "")).startswith("Method generated") for method in methods)
            print("METHODS", pending, compiled)
            (directory / "state" / "config.yaml").write_text(configuration)
            # TLS is loaded for the connection.
            while not agent.state.list(DiscoveryServiceStatus) or "_ssl" not in sys.modules:
                await trio.sleep(0.05)
            print("MODULES", *loaded())
            (directory / "state" / "config.yaml").write_text(configuration + api)
            serving = "nodespan.controllers.api.serving"
            while not (agent.state.list(APICertificate) and agent.state.list(TrustedRoot) and serving in sys.modules):
                await trio.sleep(0.05)
            assert agent.state.list(TrustedRoot)[0].spec.subjects
            print("MODULES", *loaded())
            nursery.cancel_scope.cancel()

trio.run(main)
"""


def _loaded(names: tuple[str, ...], modules: set[str]) -> list[str]:
    return [name for name in names if name in modules]


@pytest.fixture(scope="module")
def output_of_agent(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What an agent says of itself without a configuration, later with discovery, and then with its API, too."""
    directory = tmp_path_factory.mktemp("agent")
    (directory / "root" / "etc").mkdir(parents=True)
    authority = new_authority(datetime.datetime.now(datetime.UTC))
    api = API.format(
        crt=encode_pem(authority.certificate),
        key=encode_pem(authority.key),
        roots=authority.certificate.decode().replace("\n", "\n  "),
        number=os.getpid() % 250,
    )
    command = (sys.executable, "-c", AGENT, str(directory), CONFIGURATION, api, str(PATIENCE))
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.count("MODULES") == 3, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def modules_of_agents(output_of_agent: str) -> tuple[set[str], set[str], set[str]]:
    """The modules of an agent without a configuration, later with discovery, and then with its API, too."""
    found = re.findall("^MODULES (.*)$", output_of_agent, re.MULTILINE)
    without, with_discovery, with_api = (set(line.split()) for line in found)
    return without, with_discovery, with_api


def test_an_agent_without_a_configuration_has_loaded_no_library_of_what_is_not_configured(
    modules_of_agents: tuple[set[str], set[str], set[str]],
) -> None:
    without, _, _ = modules_of_agents
    assert _loaded((*NEVER, *LATER), without) == []
    # Tools of developers that logging uses where they are installed.
    own = {name for name in without if not name.startswith(("rich.", "pygments."))}
    assert len(own) < MOST_MODULES


def test_an_agent_loads_what_its_configuration_asks_for_and_nothing_else(
    modules_of_agents: tuple[set[str], set[str], set[str]],
) -> None:
    _, with_discovery, _ = modules_of_agents
    assert _loaded(WITH_DISCOVERY, with_discovery) == list(WITH_DISCOVERY)
    others = tuple(name for name in (*NEVER, *LATER) if name not in WITH_DISCOVERY)
    assert _loaded(others, with_discovery) == []


def test_an_agent_whose_api_listens_and_that_trusts_more_authorities_does_not_load_what_issues_certificates(
    modules_of_agents: tuple[set[str], set[str], set[str]],
) -> None:
    _, _, with_api = modules_of_agents
    assert _loaded(WITH_API, with_api) == list(WITH_API)
    assert _loaded((*NEVER, *NOT_WITH_API), with_api) == []


def test_a_start_compiles_few_of_the_methods_that_attrs_generates(output_of_agent: str) -> None:
    ((pending, compiled),) = re.findall("^METHODS ([0-9]+) ([0-9]+)$", output_of_agent, re.MULTILINE)
    assert int(pending) > 1_000
    assert int(compiled) / (int(pending) + int(compiled)) < MOST_COMPILED


def test_what_tests_in_virtual_time_load_first_is_all_that_is_loaded_in_a_thread() -> None:
    folders = ("controllers", "runtime", "kernel", "discovery", "etcd", "cluster")
    paths = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    # Its docstring has an example.
    sources = [path.read_text() for path in paths if path != ROOT / "runtime" / "loading.py"]
    calls = [text for text in sources if re.search(r"await load\(|LoadedOperator\(", text)]
    quoted = {name for text in calls for name in re.findall(r'"(nodespan\.[a-z0-9_.]+)"', text)}
    assert quoted == set(LOADED_LATER)


async def test_what_is_loaded_is_not_loaded_again_and_is_no_checkpoint() -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        await load("json", "trio")
    assert not scope.cancelled_caught


async def test_a_module_is_imported_in_another_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "module_for_test_loading.py").write_text("import threading\nloaded_by = threading.current_thread()\n")
    monkeypatch.syspath_prepend(tmp_path)
    await load("module_for_test_loading")
    import threading

    module = sys.modules.pop("module_for_test_loading")
    assert module.loaded_by is not threading.current_thread()


async def test_a_module_that_another_thread_is_importing_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    incomplete = types.ModuleType("incomplete_for_test_loading")
    incomplete.__spec__ = types.SimpleNamespace(_initializing=True, name=incomplete.__name__)  # type: ignore[assignment]
    monkeypatch.setitem(sys.modules, incomplete.__name__, incomplete)
    with trio.CancelScope() as scope:
        scope.cancel()
        await load(incomplete.__name__)
    assert scope.cancelled_caught


async def test_the_error_of_a_module_is_raised() -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such_module_for_test_loading"):
        await load("no_such_module_for_test_loading")
