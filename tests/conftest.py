"""How tests run here: async tests on trio with a deadline, tiers marked by directory, nothing left on the machine."""

import contextlib
import functools
import gc
import importlib
import inspect
import os
import re
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
import trio
import trio.testing

from nodespan.runtime.process.logs import processors
from tests.support import forked, probe, progress, run
from tests.support.deadlines import SOAK_DEADLINE, TEST_DEADLINE, VIRTUAL_DEADLINE

TIERS = ("mesh", "vm")

# A unit test module that starts processes shows it in its source: here, or through one of the helpers that do.
STARTS_PROCESSES = re.compile(
    r"\bsubprocess\b|\b(?:run|open)_process\b|\bmultiprocessing\b|\bos\.(?:fork|spawn|posix_spawn)"
    r"|tests\.support(?:\.| import )(?:agent|forked|process|etcd|inside|monitor|nested|netns|systemd|vip_stage|told)\b"
    r"|tests\.controllers\.api\.test_commands\b"
)


def pytest_configure(config: pytest.Config) -> None:
    # Who is started in the background by a script ignores interrupts, and so would all commands that tests interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # By itself structlog has rich write tracebacks, where that is installed, with all locals: half a second for each.
    structlog.configure(processors=processors("text"))
    # Where nothing uses it, as in a guest, it is not imported either.
    if config.pluginmanager.has_plugin("hypothesispytest"):
        _have_steady_examples()
    config.addinivalue_line("markers", "needs_link(*kinds): skipped where the kernel makes no links of these kinds")
    config.addinivalue_line("markers", "needs_program(*names): skipped where these programs are not installed")


def _have_steady_examples() -> None:
    """The same examples in every run, so that a red test is a change's doing; `make soak` looks for new ones."""
    import hypothesis

    # Nothing is timed: on a busy machine it says something of that only.
    untimed: dict[str, Any] = {"deadline": None, "suppress_health_check": [hypothesis.HealthCheck.too_slow]}
    hypothesis.settings.register_profile("steady", derandomize=True, max_examples=40, **untimed)
    hypothesis.settings.register_profile("search", max_examples=1000, **untimed)
    hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))


def pytest_collection(session: pytest.Session) -> None:
    # To rewrite the asserts of a module takes longer than all else of its collection. Workers would all rewrite the
    # same one at the same time, and so each begins at another.
    worker = getattr(session.config, "workerinput", None)
    if worker is None:
        return
    modules = _modules(session.config)
    for module in modules[len(modules) * int(worker["workerid"].removeprefix("gw")) // worker["workercount"] :]:
        with contextlib.suppress(Exception, pytest.skip.Exception):  # collection imports it again, and reports it
            importlib.import_module(module)


def _modules(config: pytest.Config) -> list[str]:
    """The test modules in the directories that are asked for, in the order of their collection."""
    here = config.invocation_params.dir
    ignored = [here / path for path in config.getoption("ignore") or ()]
    files = {file for argument in config.args for file in (here / argument).glob("**/test_*.py")}
    kept = sorted(file for file in files if not any(file.is_relative_to(path) for path in ignored))
    return [".".join(file.relative_to(config.rootpath).with_suffix("").parts) for file in kept]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        tier = item.path.relative_to(here).parts[0]
        if tier in TIERS:
            item.add_marker(tier)
        elif starts_processes(item.path):
            item.add_marker("process")
    if "soak" not in config.option.markexpr:
        long = [item for item in items if item.get_closest_marker("soak")]
        items[:] = [item for item in items if not item.get_closest_marker("soak")]
        config.hook.pytest_deselected(items=long)


def pytest_collection_finish(session: pytest.Session) -> None:
    progress.note(progress.COLLECTED, *(item.nodeid for item in session.items))
    # Modules and items stay to the end: no collection of garbage looks at them again.
    gc.collect()
    gc.freeze()


def pytest_runtest_logfinish(nodeid: str) -> None:
    progress.note(progress.FINISHED, nodeid)


@functools.cache
def starts_processes(module: Path) -> bool:
    """Whether the tests of a module start processes, by its source."""
    return STARTS_PROCESSES.search(module.read_text()) is not None


_STARTS = frozenset({"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.system"})
_may_start = True


def _forbid_processes(event: str, _arguments: tuple[object, ...]) -> None:
    if event in _STARTS and not _may_start:
        raise AssertionError(f"{event} in a test that is not marked `process`")


sys.addaudithook(_forbid_processes)


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    global _may_start
    # Whoever asks for tests that start none gets none that does.
    _may_start = "not process" not in item.config.option.markexpr
    try:
        yield
    finally:
        _may_start = True


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker, lacks in (("needs_link", probe.no_link), ("needs_program", probe.no_program)):
        for mark in item.iter_markers(marker):
            for name in mark.args:
                if reason := lacks(name):
                    pytest.skip(reason)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    on_trio = functools.partial(
        _on_trio,
        deadline=SOAK_DEADLINE if pyfuncitem.get_closest_marker("soak") else TEST_DEADLINE,
        virtual=pyfuncitem.get_closest_marker("virtual_clock") is not None,
    )
    if given := getattr(pyfuncitem.obj, "hypothesis", None):
        # Hypothesis calls the inner test once per example: each gets a trio run of its own.
        if inspect.iscoroutinefunction(given.inner_test):
            given.inner_test = on_trio(given.inner_test)
        return None
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    on_trio(pyfuncitem.obj)(**{name: pyfuncitem.funcargs[name] for name in names})
    return True


@pytest.fixture(scope="session", autouse=True)
def _nothing_left_behind() -> Iterator[None]:
    directory = run.begin()
    yield
    forked.stop()
    if left := run.leftovers(directory):
        pytest.fail("this test run left behind (now removed):\n  " + "\n  ".join(left), pytrace=False)


# What is loaded in a thread when the configuration asks for it: virtual time does not wait for threads.
LOADED_LATER = (
    "nodespan.controllers.api.issuer",
    "nodespan.controllers.api.serving",
    "nodespan.controllers.cluster.conversion",
    "nodespan.controllers.config.apply",
    "nodespan.controllers.dashboard.listening",
    "nodespan.controllers.dns.serving",
    "nodespan.controllers.host.kernel_parameters",
    "nodespan.controllers.host.names.name_service_rules",
    "nodespan.controllers.host.names.registry",
    "nodespan.controllers.host.names.resolved",
    "nodespan.controllers.network.apply.ethernet_plan",
    "nodespan.controllers.kubespan.mapping.record",
    "nodespan.controllers.kubespan.mapping.requests",
    "nodespan.controllers.kubespan.paths.measuring",
    "nodespan.controllers.kubespan.relaying",
    "nodespan.controllers.network.config.ingress_chains",
    "nodespan.controllers.network.dhcp.factories",
    "nodespan.controllers.network.probes.attempts",
    "nodespan.controllers.network.status.ethernet_facts",
    "nodespan.controllers.network.vip.clouds.cloud",
    "nodespan.controllers.network.vip.conditions.checks",
    "nodespan.controllers.network.vip.conditions.named_resource",
    "nodespan.controllers.network.vip.operator",
    "nodespan.controllers.secrets.api_certificate",
    "nodespan.controllers.secrets.authority",
    "nodespan.controllers.secrets.issuing",
    "nodespan.discovery.client",
    "nodespan.discovery.proxy",
    "nodespan.discovery.transport",
    "nodespan.kernel.hardware.ethtool_netlink",
    "nodespan.runtime.api.cosi.serving",
    "nodespan.runtime.api.http_server",
    "nodespan.runtime.api.metrics",
    "nodespan.runtime.api.user_resources",
    "nodespan.runtime.process.boot_alarm",
)


def _on_trio(test: Callable[..., Awaitable[None]], *, deadline: float, virtual: bool) -> Callable[..., None]:
    @functools.wraps(test)
    def run_test(*arguments: object, **named: object) -> None:
        async def main() -> None:
            with trio.fail_after(VIRTUAL_DEADLINE if virtual else deadline):
                await test(*arguments, **named)

        if virtual:
            for module in LOADED_LATER:
                importlib.import_module(module)
        trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0) if virtual else None)

    # Hypothesis looks through __wrapped__ and would find the coroutine function again.
    del run_test.__wrapped__
    return run_test
