"""Kernel parameters in a directory: what is recorded, set, put right, and put back."""

import contextlib
import errno
import os
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nodespan.controllers.common.journal import Journal
from nodespan.controllers.host.host import Host
from nodespan.controllers.host.kernel_parameter_rules import Parameter
from nodespan.controllers.host.kernel_parameters import KernelParameters, Outcome
from nodespan.resources.runtime import KernelParamSpecSpec, KernelParamStatusSpec

FORWARD = "proc.sys.net.ipv4.ip_forward"
PANIC = "proc.sys.kernel.panic"
RP_FILTER = "proc.sys.net.ipv4.conf.eth0.rp_filter"
RMEM = "proc.sys.net.ipv4.tcp_rmem"


class Cascading(KernelParameters):
    """With a kernel that forwards on every link when it forwards at all, and writes values in a form of its own.

    As the kernel does, it gives IPv4 settings for links to come to each link that has none of its own.
    """

    def _write(self, parameter: Parameter, value: str) -> None:
        conf = self._own / "proc/sys/net/ipv4/conf"
        own = self._own / "links.own"
        switches = (self._own / "proc/sys/net/ipv4/ip_forward", conf / "all/forwarding")
        was = switches[0].read_text().strip()
        super()._write(parameter, value.replace(" ", "\t"))
        if parameter.is_forwarding and value != "0" and isinstance(self._large_receive, Offload):
            self._large_receive.lose()
        if parameter.is_forwarding_of_all and was != value:
            for file in (*switches, *conf.glob("*/forwarding")):
                file.write_text(f"{value}\n")
            (conf / "all/accept_redirects").write_text("0\n" if value == "1" else "1\n")
        if parameter.path.endswith("/rp_filter"):
            own.touch()
            if parameter.link_name:
                with own.open("a") as stream:
                    stream.write(f"{parameter.link_name}\n")
            elif parameter.shared == "default":
                for file in conf.glob("*/rp_filter"):
                    if file.parent.name not in {"all", "default", *own.read_text().split()}:
                        file.write_text(f"{value}\n")


@attrs.define
class Offload:
    """The large receive offload: of these links it is on, others have it, and whether it cannot be asked for."""

    on: dict[int, str] = attrs.field(factory=dict)
    off: dict[int, str] = attrs.field(factory=dict)
    fault: OSError | None = None

    def links(self) -> dict[int, str]:
        return dict(self.on)

    def turn_on(self, index: int) -> None:
        if self.fault is not None:
            raise self.fault
        if index in self.off:
            self.on[index] = self.off.pop(index)

    def lose(self) -> None:
        """The kernel forwards from now on."""
        self.off |= self.on
        self.on.clear()


@attrs.define
class Lab:
    """A directory of parameters, and agents one after the other."""

    root: Path
    host: Host
    now: float = 0.0
    links: dict[str, int] = attrs.field(factory=lambda: {"eth0": 2})
    offload: Offload = attrs.field(factory=Offload)
    parameters: KernelParameters = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """A new process on the same record, whatever became of the one before."""
        journal = Journal(self.root / "state.jsonl")
        self.parameters = Cascading(
            self.host,
            journal,
            own=self.root,
            clock=lambda: self.now,
            link_index=lambda name: self.links.get(name, 0),
            link_name=lambda index: next((name for name, each in self.links.items() if each == index), ""),
            large_receive=self.offload,
        )

    def rename(self, before: str, after: str) -> None:
        """A link gets another name, with all its settings."""
        conf = self.root / "proc/sys/net/ipv4/conf"
        (conf / before).rename(conf / after)
        self.links[after] = self.links.pop(before)

    def write(self, path: str, text: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")

    def read(self, path: str) -> str:
        return (self.root / path).read_text().strip()

    def at_least(self, values: dict[str, str]) -> Outcome:
        """A turn in which all of these are defaults that higher values of others meet, too."""
        self.now += 1000.0
        desired = {id: KernelParamSpecSpec(value=value, ignore_errors=True) for id, value in values.items()}
        return self.parameters.turn(desired, may_undo=True, minimums=desired.keys())

    def set(self, values: dict[str, str], *, may_undo: bool = True, ignore_errors: bool = False) -> Outcome:
        self.now += 1000.0
        return self.again(values, may_undo=may_undo, ignore_errors=ignore_errors)

    def again(self, values: dict[str, str], *, may_undo: bool = True, ignore_errors: bool = False) -> Outcome:
        desired = {id: KernelParamSpecSpec(value=value, ignore_errors=ignore_errors) for id, value in values.items()}
        return self.parameters.turn(desired, may_undo=may_undo)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return made(tmp_path)


def made(root: Path) -> Lab:
    lab = Lab(root, Host(root=root))
    lab.write("proc/sys/net/ipv4/ip_forward", "0")
    for link in ("all", "default", "eth0", "eth1"):
        lab.write(f"proc/sys/net/ipv4/conf/{link}/forwarding", "1" if link == "eth1" else "0")
        lab.write(f"proc/sys/net/ipv4/conf/{link}/rp_filter", "0")
    lab.write("proc/sys/net/ipv4/conf/all/accept_redirects", "1")
    lab.write("proc/sys/net/ipv4/tcp_rmem", "4096\t131072\t6291456")
    lab.write("proc/sys/kernel/panic", "0")
    return lab


def tree(lab: Lab) -> dict[str, str]:
    return {
        str(file.relative_to(lab.root)): file.read_text() for file in (lab.root / "proc").rglob("*") if file.is_file()
    }


def test_a_parameter_is_set_shown_and_put_back(lab: Lab) -> None:
    before = tree(lab)
    outcome = lab.set({PANIC: "5", RMEM: "4096 87380  6291456"})
    assert outcome.statuses == {
        PANIC: KernelParamStatusSpec(current="5", default="0"),
        RMEM: KernelParamStatusSpec(current="4096 87380 6291456", default="4096 131072 6291456"),
    }
    assert (outcome.problems, outcome.news) == ({}, [])
    assert lab.read("proc/sys/kernel/panic") == "5"
    outcome = lab.set({})
    assert (outcome.statuses, outcome.problems, outcome.news, tree(lab)) == ({}, {}, [], before)
    assert not lab.parameters.has_records


def test_what_a_write_changes_besides_is_put_back_too(lab: Lab) -> None:
    before = tree(lab)
    lab.set({FORWARD: "1"})
    assert lab.read("proc/sys/net/ipv4/conf/eth0/forwarding") == "1"
    lab.restart()
    lab.set({})
    assert tree(lab) == before


def test_a_parameter_beside_that_is_desired_itself_is_put_back_on_its_own_terms(lab: Lab) -> None:
    before = tree(lab)
    eth0 = "proc.sys.net.ipv4.conf.eth0.forwarding"
    lab.set({FORWARD: "1", eth0: "0"})
    assert (lab.read("proc/sys/net/ipv4/conf/eth0/forwarding"), lab.read("proc/sys/net/ipv4/ip_forward")) == ("0", "1")
    # Forwarding goes on; the link follows it again, as it would without us having named it.
    lab.set({FORWARD: "1"})
    assert lab.read("proc/sys/net/ipv4/conf/eth0/forwarding") == "1"
    lab.set({})
    assert tree(lab) == before
    lab.set({FORWARD: "1", eth0: "0"})
    lab.set({eth0: "0"})
    assert lab.read("proc/sys/net/ipv4/conf/eth0/forwarding") == "0"
    lab.set({})
    assert tree(lab) == before
    lab.set({FORWARD: "1", eth0: "0"})
    lab.set({})
    assert tree(lab) == before


_CONF = "proc.sys.net.ipv4.conf"


def test_settings_of_all_links_and_of_those_to_come_are_put_back_each_on_its_own_terms(lab: Lab) -> None:
    before = tree(lab)
    every, coming = f"{_CONF}.all.rp_filter", f"{_CONF}.default.rp_filter"
    lab.set({every: "2", coming: "2"})
    lab.set({coming: "2"})
    assert lab.read("proc/sys/net/ipv4/conf/all/rp_filter") == "0"
    lab.set({every: "2", coming: "2"})
    assert lab.set({}).news == []
    assert (tree(lab), lab.parameters.has_records) == (before, False)


def test_what_the_agent_set_itself_is_never_taken_for_what_was_there_before(lab: Lab) -> None:
    before = tree(lab)
    eth0 = f"{_CONF}.eth0.forwarding"
    for first, second in ((eth0, FORWARD), (FORWARD, eth0)):
        for last in (first, second):
            lab.set({first: "1"})
            lab.restart()
            lab.set({first: "1", second: "1"})
            outcome = lab.set({last: "1"})
            # The one that stays decides about the link, and no other program is blamed.
            assert (lab.read("proc/sys/net/ipv4/conf/eth0/forwarding"), outcome.news) == ("1", [])
            lab.restart()
            lab.set({})
            assert tree(lab) == before


def test_a_setting_of_a_link_is_put_back_beside_one_that_does_not_reach_it(lab: Lab) -> None:
    for link in ("all", "default", "eth0"):
        lab.write(f"proc/sys/net/ipv6/conf/{link}/accept_ra", "1")
    eth0, coming = "proc.sys.net.ipv6.conf.eth0.accept_ra", "proc.sys.net.ipv6.conf.default.accept_ra"
    lab.set({eth0: "2"})
    lab.set({eth0: "2", coming: "0"})
    lab.set({coming: "0"})
    assert lab.read("proc/sys/net/ipv6/conf/eth0/accept_ra") == "1"
    # What another program sets from now on is its own, even if it is what the agent had set once.
    lab.write("proc/sys/net/ipv6/conf/eth0/accept_ra", "2")
    lab.set({})
    assert lab.read("proc/sys/net/ipv6/conf/eth0/accept_ra") == "2"
    assert lab.read("proc/sys/net/ipv6/conf/default/accept_ra") == "1"


_SETTINGS = st.fixed_dictionaries(
    {},
    optional={
        FORWARD: st.sampled_from("01"),
        f"{_CONF}.all.accept_redirects": st.sampled_from("01"),
        **{f"{_CONF}.{link}.forwarding": st.sampled_from("01") for link in ("default", "eth0", "eth1")},
        **{f"{_CONF}.{link}.rp_filter": st.sampled_from("012") for link in ("all", "default", "eth0", "eth1")},
    },
)


@example(
    turns=[{FORWARD: "1"}, {f"{_CONF}.eth1.forwarding": "0"}],
    restarts=False,
    alias=False,
)
@given(turns=st.lists(_SETTINGS, min_size=1, max_size=5), restarts=st.booleans(), alias=st.booleans())
def test_after_any_settings_everything_is_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, turns: list[dict[str, str]], restarts: bool, alias: bool
) -> None:
    lab = made(tmp_path_factory.mktemp("lab"))
    before = tree(lab)
    for settings in turns:
        values = dict(settings)
        if alias and FORWARD in values:
            # The same switch by its other name.
            values[f"{_CONF}.all.forwarding"] = values[FORWARD]
        outcome = lab.set(values)
        assert (outcome.news, outcome.problems) == ([], {})
        for id, value in values.items():
            assert lab.read(id.replace(".", "/")) == value, id
        if restarts:
            lab.restart()
    assert lab.set({}).news == []
    assert (tree(lab), lab.parameters.has_records) == (before, False)


def test_nothing_is_put_back_while_it_is_not_known_what_is_desired(lab: Lab) -> None:
    lab.set({PANIC: "5"})
    lab.restart()
    lab.set({}, may_undo=False)
    assert lab.read("proc/sys/kernel/panic") == "5"
    lab.set({})
    assert lab.read("proc/sys/kernel/panic") == "0"


def test_the_record_is_made_before_the_write(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    class KilledError(BaseException):
        pass

    def killed(*_: object) -> None:
        raise KilledError

    before = tree(lab)
    for moment in ("_write", "_read_beside"):
        with monkeypatch.context() as patch:
            patch.setattr(lab.parameters, moment, killed)
            with pytest.raises(KilledError):
                lab.set({FORWARD: "1"})
        lab.restart()
        lab.set({})
        assert tree(lab) == before


def test_a_process_that_is_killed_right_after_the_write_leaves_what_is_needed(lab: Lab) -> None:
    class KilledError(BaseException):
        pass

    before = tree(lab)
    write = lab.parameters._write

    def write_and_die(parameter: Parameter, value: str) -> None:
        write(parameter, value)
        raise KilledError

    lab.parameters._write = write_and_die  # type: ignore[method-assign]
    with pytest.raises(KilledError):
        lab.set({RMEM: "1 2 3"})
    lab.restart()
    lab.set({})
    assert tree(lab) == before


class KilledError(BaseException):
    """A process is killed at this point."""


def test_a_process_that_is_killed_in_the_middle_of_putting_back_leaves_what_is_needed(lab: Lab) -> None:
    before = tree(lab)
    for moment in range(1, 6):
        for is_done in (False, True):
            lab.set({FORWARD: "1", RP_FILTER: "2"})
            write, left = lab.parameters._write, [moment]

            def write_or_die(
                parameter: Parameter,
                value: str,
                write: Callable[[Parameter, str], None] = write,
                left: list[int] = left,
                is_done: bool = is_done,
            ) -> None:
                left[0] -= 1
                if left[0] or is_done:
                    write(parameter, value)
                if not left[0]:
                    raise KilledError

            lab.parameters._write = write_or_die  # type: ignore[method-assign]
            with contextlib.suppress(KilledError):
                lab.set({})
            lab.restart()
            assert lab.set({}).news == []
            assert (tree(lab), lab.parameters.has_records) == (before, False)


def test_one_that_is_desired_again_in_the_middle_of_putting_back_is_put_back_later(lab: Lab) -> None:
    before = tree(lab)
    lab.set({FORWARD: "1"})
    write = lab.parameters._write

    def write_and_die(parameter: Parameter, value: str) -> None:
        write(parameter, value)
        raise KilledError

    lab.parameters._write = write_and_die  # type: ignore[method-assign]
    with pytest.raises(KilledError):
        lab.set({})
    lab.restart()
    assert lab.set({FORWARD: "1"}).news == []
    assert lab.read("proc/sys/net/ipv4/conf/eth0/forwarding") == "1"
    lab.set({})
    assert tree(lab) == before


def test_what_cannot_be_put_back_is_a_problem_and_is_tried_less_and_less_often(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.set({PANIC: "5"})
    tried: list[str] = []

    def refuse(parameter: Parameter, value: str) -> None:
        tried.append(parameter.path)
        raise OSError(errno.EINVAL, "Invalid argument")

    with monkeypatch.context() as patch:
        patch.setattr(lab.parameters, "_write", refuse)
        for _ in range(100):
            lab.now += 1.0
            outcome = lab.again({})
            assert outcome.news == []
            assert 'cannot be put back to "0": Invalid argument' in outcome.problems[PANIC]
    assert len(tried) < 20
    assert lab.parameters.left_behind() == [outcome.problems[PANIC]]
    # An agent that did not get to it says so.
    assert Lab(lab.root, lab.host).parameters.left_behind() == ["/proc/sys/kernel/panic was not put back"]
    assert lab.set({}).problems == {}
    assert (lab.read("proc/sys/kernel/panic"), lab.parameters.has_records) == ("0", False)
    assert lab.parameters.left_behind() == []


IPV6 = "proc.sys.net.ipv6.conf.all.forwarding"
OF_ETH0 = "proc.sys.net.ipv4.conf.eth0.forwarding"


@pytest.mark.parametrize("restarts", [False, True])
def test_links_have_their_large_receive_offload_back_once_nothing_forwards_any_more(lab: Lab, restarts: bool) -> None:
    lab.write("proc/sys/net/ipv6/conf/all/forwarding", "0")
    lab.offload.on |= {2: "eth0", 3: "eth1"}

    def turn(values: dict[str, str], *, may_undo: bool = True) -> Outcome:
        if restarts:
            lab.restart()
        return lab.set(values, may_undo=may_undo)

    turn({FORWARD: "0", PANIC: "5"})
    assert lab.offload.on == {2: "eth0", 3: "eth1"}
    turn({FORWARD: "1", IPV6: "1", PANIC: "5"})
    assert lab.offload.on == {}
    # A link that never had it, and one that is gone.
    lab.offload.off[4] = "eth2"
    del lab.offload.off[3]
    turn({IPV6: "1", PANIC: "5"})
    assert lab.offload.on == {}
    turn({PANIC: "5"}, may_undo=False)
    assert lab.offload.on == {}
    turn({PANIC: "5"})
    assert (lab.offload.on, lab.offload.off) == ({2: "eth0"}, {4: "eth2"})
    assert turn({}).problems == {}
    assert not lab.parameters.has_records
    # What another program has turned off before stays off.
    lab.offload.lose()
    turn({OF_ETH0: "1"})
    turn({})
    assert lab.offload.on == {}


def test_the_large_receive_offload_is_put_back_also_by_the_process_after_one_that_was_killed_in_the_write(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.offload.on[2] = "eth0"

    def killed(parameter: Parameter, value: str) -> None:
        Cascading._write(lab.parameters, parameter, value)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    monkeypatch.setattr(lab.parameters, "_write", killed)
    with pytest.raises(KeyboardInterrupt):
        lab.set({FORWARD: "1"})
    assert lab.offload.on == {}
    lab.restart()
    assert lab.set({}).problems == {}
    assert (lab.read("proc/sys/net/ipv4/ip_forward"), lab.offload.on) == ("0", {2: "eth0"})


def test_a_large_receive_offload_that_cannot_be_turned_on_is_a_problem_and_tried_again(lab: Lab) -> None:
    lab.offload.on[2] = "eth0"
    lab.set({FORWARD: "1"})
    lab.offload.fault = OSError(errno.EIO, "Input/output error")
    problems = {"lro/2": "rx-lro of eth0 cannot be turned on again: Input/output error"}
    assert lab.set({}).problems == problems
    # The next try comes later; what is wrong is shown meanwhile.
    assert lab.again({}).problems == problems
    assert lab.parameters.left_behind() == list(problems.values())
    # An agent that did not get to it says so.
    assert Lab(lab.root, lab.host).parameters.left_behind() == ["rx-lro of eth0 was not turned on again"]
    lab.offload.fault = None
    assert lab.set({}).problems == {}
    assert (lab.offload.on, lab.parameters.left_behind()) == ({2: "eth0"}, [])


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("proc/sys/net/ipv6/conf/all/forwarding", 'packets are forwarded, for /{} is "1"'),
        ("proc/sys/net/ipv6/conf/eth0/forwarding", 'packets are forwarded, for /{} is "1"'),
        ("proc/sys/net/ipv6/conf/vlan5/forwarding", 'packets are forwarded, for /{} is "1"'),
        ("sys/class/net/eth0/brport", "eth0 is a port of a bridge"),
        ("sys/class/net/bond0/brport", "bond0 is a port of a bridge"),
    ],
)
def test_the_large_receive_offload_stays_off_where_the_kernel_has_another_reason_for_that(
    lab: Lab, path: str, reason: str
) -> None:
    # A VLAN on a bond of the card.
    lab.write("sys/class/net/eth0/upper_bond0", "")
    lab.write("sys/class/net/bond0/upper_vlan5", "")
    for link in ("all", "eth0", "vlan5", "eth1"):
        lab.write(f"proc/sys/net/ipv6/conf/{link}/forwarding", "1" if link == "eth1" else "0")
    lab.offload.on[2] = "eth0"
    lab.set({FORWARD: "1"})
    lab.write(path, "1")
    outcome = lab.set({})
    assert (outcome.news, outcome.problems) == ([f"rx-lro of eth0 stays off: {reason.format(path)}"], {})
    assert (lab.offload.on, lab.parameters.has_records) == ({}, False)
    # It is not turned on later either: the kernel would have left it off.
    (lab.root / path).unlink()
    assert lab.set({}).news == []
    assert lab.offload.on == {}


def test_the_large_receive_offload_stays_off_where_it_was_forwarded_before_the_agent(lab: Lab) -> None:
    path = "proc/sys/net/ipv4/conf/eth0/forwarding"
    lab.write(path, "1")
    lab.set({OF_ETH0: "1"})
    # Another program turns it off for a while.
    lab.write(path, "0")
    lab.offload.on[2] = "eth0"
    lab.set({OF_ETH0: "1"})
    assert lab.offload.on == {}
    assert lab.set({}).news == [f'rx-lro of eth0 stays off: packets are forwarded, for /{path} is "1"']
    assert (lab.read(path), lab.offload.on, lab.parameters.has_records) == ("1", {}, False)


def test_a_link_of_another_network_namespace_in_sysfs_is_not_taken_for_the_one_with_the_large_receive_offload(
    lab: Lab,
) -> None:
    lab.write("sys/class/net/eth0/ifindex", "9")
    lab.write("sys/class/net/eth0/brport", "1")
    lab.offload.on[2] = "eth0"
    lab.set({FORWARD: "1"})
    assert lab.set({}).news == []
    assert lab.offload.on == {2: "eth0"}


def test_a_write_that_fails_leaves_no_record_of_the_large_receive_offload(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.offload.on[2] = "eth0"

    def refuse(parameter: Parameter, value: str) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr(lab.parameters, "_write", refuse)
        assert "Read-only file system" in lab.set({FORWARD: "1"}).problems[FORWARD]
    # The operator turns it off.
    lab.offload.lose()
    assert lab.set({}).problems == {}
    assert (lab.offload.on, lab.parameters.has_records) == ({}, False)


def test_one_of_the_others_that_cannot_be_put_back_is_tried_again(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    before = tree(lab)
    lab.set({FORWARD: "1"})
    write = lab.parameters._write

    def refuse(parameter: Parameter, value: str) -> None:
        if parameter.link_name == "eth1":
            raise OSError(errno.EIO, "Input/output error")
        write(parameter, value)

    with monkeypatch.context() as patch:
        patch.setattr(lab.parameters, "_write", refuse)
        assert "eth1" in lab.set({}).problems[FORWARD]
    lab.restart()
    assert lab.set({}).problems == {}
    assert (tree(lab), lab.parameters.has_records) == (before, False)


def test_a_choice_of_sysfs_is_put_back_by_its_word(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    id, path = "sys.kernel.mm.transparent_hugepage.enabled", "sys/kernel/mm/transparent_hugepage/enabled"
    lab.write(path, "always [madvise] never")

    def choose(parameter: Parameter, value: str) -> None:
        words = ("always", "madvise", "never")
        if value not in words:
            raise OSError(errno.EINVAL, "Invalid argument")
        lab.write(path, " ".join(f"[{word}]" if word == value else word for word in words))

    monkeypatch.setattr(lab.parameters, "_write", choose)
    for value in ("never", "madvise"):
        assert lab.set({id: value}).problems == {}
        assert (lab.set({}).problems, lab.read(path)) == ({}, "always [madvise] never")
        assert not lab.parameters.has_records


@pytest.mark.parametrize(("first", "second"), [("bytes", "ratio"), ("ratio", "bytes")])
def test_one_of_a_pair_is_put_back_by_the_one_that_was_in_effect(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, first: str, second: str
) -> None:
    lab.write(f"proc/sys/vm/dirty_{first}", "0")
    lab.write(f"proc/sys/vm/dirty_{second}", "20")

    def write(parameter: Parameter, value: str) -> None:
        if value == "0":
            raise OSError(errno.EINVAL, "Invalid argument")
        for kind in ("bytes", "ratio"):
            lab.write(f"proc/sys/vm/dirty_{kind}", value if parameter.path.endswith(kind) else "0")

    monkeypatch.setattr(lab.parameters, "_write", write)
    before = tree(lab)
    assert lab.set({f"proc.sys.vm.dirty_{first}": "8192"}).problems == {}
    assert lab.read(f"proc/sys/vm/dirty_{second}") == "0"
    assert (lab.set({}).problems, tree(lab), lab.parameters.has_records) == ({}, before, False)


def test_what_another_program_changes_is_put_right_and_damped(lab: Lab) -> None:
    lab.set({PANIC: "5"})
    for _ in range(5):
        lab.now += 1.0
        lab.write("proc/sys/kernel/panic", "7")
        outcome = lab.again({PANIC: "5"})
        assert lab.read("proc/sys/kernel/panic") == "5"
        assert 'was changed to "7" by another program' in outcome.news[0]
    lab.write("proc/sys/kernel/panic", "7")
    outcome = lab.again({PANIC: "5"})
    assert lab.read("proc/sys/kernel/panic") == "7"
    assert "keeps being changed by another program" in outcome.problems[PANIC]
    assert outcome.statuses[PANIC].current == "7"
    lab.now += 1000.0
    lab.again({PANIC: "5"})
    assert lab.read("proc/sys/kernel/panic") == "5"
    # Another value is another matter.
    lab.now += 1.0
    assert lab.again({PANIC: "6"}).problems == {}
    assert lab.read("proc/sys/kernel/panic") == "6"


def test_a_value_that_another_program_set_last_stays(lab: Lab) -> None:
    lab.set({PANIC: "5"})
    lab.write("proc/sys/kernel/panic", "9")
    outcome = lab.set({})
    assert lab.read("proc/sys/kernel/panic") == "9"
    assert outcome.news == ['/proc/sys/kernel/panic was changed to "9" by another program, and is left as it is']
    assert not lab.parameters.has_records


def test_what_was_as_desired_before_stays(lab: Lab) -> None:
    lab.set({PANIC: "0"})
    assert lab.parameters.has_records
    assert lab.set({}).news == []
    assert lab.read("proc/sys/kernel/panic") == "0"


def test_values_that_the_system_shows_to_root_alone_are_shown_nowhere(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    id, path = "proc.sys.net.ipv4.tcp_fastopen_key", "proc/sys/net/ipv4/tcp_fastopen_key"
    lab.write(path, "0a0a")
    (lab.root / path).chmod(0o600)
    outcomes = [lab.set({id: "0b0b"})]
    assert outcomes[0].statuses[id] == KernelParamStatusSpec(current="(secret)", default="(secret)")
    lab.write(path, "0c0c")
    outcomes.append(lab.set({id: "0b0b"}))
    assert "was changed to (secret) by another program" in outcomes[1].news[0]

    def refuse(parameter: Parameter, value: str) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    with monkeypatch.context() as patch:
        patch.setattr(lab.parameters, "_write", refuse)
        outcomes += [lab.set({id: "0d0d"}), lab.set({})]
    assert [list(outcome.problems) for outcome in outcomes[2:]] == [[id], [id]]
    assert not any(f"0{letter}0{letter}" in str(outcomes) for letter in "abcd")
    lab.set({})
    assert lab.read(path) == "0a0a"


def test_one_that_is_missing_is_a_problem_or_unsupported(lab: Lab) -> None:
    outcome = lab.set({"proc.sys.net.bridge.bridge-nf-call-iptables": "1", PANIC: "5"})
    (text,) = outcome.problems.values()
    assert "kernel module" in text
    assert list(outcome.statuses) == [PANIC]
    outcome = lab.set({"proc.sys.net.bridge.bridge-nf-call-iptables": "1"}, ignore_errors=True)
    assert (outcome.problems, [status.unsupported for status in outcome.statuses.values()]) == ({}, [True])


def test_a_link_that_is_not_there_yet_gets_its_setting_later(lab: Lab) -> None:
    outcome = lab.set({"proc.sys.net.ipv4.conf.eth7.rp_filter": "2"})
    assert "when there is a link eth7" in outcome.waiting["proc.sys.net.ipv4.conf.eth7.rp_filter"]
    lab.write("proc/sys/net/ipv4/conf/eth7/rp_filter", "1")
    lab.links["eth7"] = 9
    outcome = lab.set({"proc.sys.net.ipv4.conf.eth7.rp_filter": "2"})
    assert (outcome.waiting, lab.read("proc/sys/net/ipv4/conf/eth7/rp_filter")) == ({}, "2")
    assert outcome.statuses["proc.sys.net.ipv4.conf.eth7.rp_filter"].default == "1"


def test_settings_of_a_link_that_was_renamed_are_put_back_under_its_new_name(lab: Lab) -> None:
    lab.set({RP_FILTER: "2"})
    lab.rename("eth0", "lan0")
    lab.restart()
    # The old name is of another link by now.
    lab.links["eth0"] = 12
    lab.write("proc/sys/net/ipv4/conf/eth0/rp_filter", "1")
    outcome = lab.set({RP_FILTER: "2"})
    assert outcome.statuses[RP_FILTER].default == "1"
    assert lab.read("proc/sys/net/ipv4/conf/lan0/rp_filter") == "0"
    lab.set({})
    assert lab.read("proc/sys/net/ipv4/conf/eth0/rp_filter") == "1"
    assert not lab.parameters.has_records


def test_a_setting_that_is_desired_under_the_new_name_goes_on(lab: Lab) -> None:
    lab.set({RP_FILTER: "2"})
    lab.rename("eth0", "lan0")
    id = RP_FILTER.replace("eth0", "lan0")
    outcome = lab.set({id: "2"})
    assert (outcome.statuses[id].default, outcome.news) == ("0", [])
    lab.set({})
    assert lab.read("proc/sys/net/ipv4/conf/lan0/rp_filter") == "0"


def test_two_links_that_exchange_their_names_get_back_what_each_had(lab: Lab) -> None:
    lab.links["eth1"] = 3
    lab.write("proc/sys/net/ipv4/conf/eth1/rp_filter", "1")
    both = {RP_FILTER: "2", RP_FILTER.replace("eth0", "eth1"): "2"}
    lab.set(both)
    for before, after in (("eth0", "x"), ("eth1", "eth0"), ("x", "eth1")):
        lab.rename(before, after)
    lab.set(both)
    lab.set({})
    assert [lab.read(f"proc/sys/net/ipv4/conf/{link}/rp_filter") for link in ("eth0", "eth1")] == ["1", "0"]


def test_what_a_write_changed_of_a_link_comes_back_under_its_new_name(lab: Lab) -> None:
    lab.links["eth1"] = 3
    lab.set({FORWARD: "1"})
    lab.rename("eth0", "lan0")
    lab.rename("eth1", "lan1")
    lab.restart()
    lab.set({})
    assert [lab.read(f"proc/sys/net/ipv4/conf/{link}/forwarding") for link in ("lan0", "lan1")] == ["0", "1"]


def test_a_link_that_was_made_again_has_a_record_of_its_own(lab: Lab) -> None:
    lab.set({RP_FILTER: "2"})
    lab.write("proc/sys/net/ipv4/conf/eth0/rp_filter", "1")
    lab.links["eth0"] = 12
    outcome = lab.set({RP_FILTER: "2"})
    assert (outcome.statuses[RP_FILTER].default, outcome.news) == ("1", [])
    lab.set({})
    assert lab.read("proc/sys/net/ipv4/conf/eth0/rp_filter") == "1"
    # One that was made again since is not touched.
    lab.set({RP_FILTER: "2"})
    lab.write("proc/sys/net/ipv4/conf/eth0/rp_filter", "2")
    lab.links["eth0"] = 13
    lab.set({})
    assert lab.read("proc/sys/net/ipv4/conf/eth0/rp_filter") == "2"


def test_a_value_that_cannot_be_recorded_is_not_changed(lab: Lab) -> None:
    (lab.root / "proc/sys/kernel/panic").write_bytes(b"\xff\xfe")
    assert "is not text" in lab.set({PANIC: "5"}).problems[PANIC]
    (lab.root / "proc/sys/kernel/panic").write_bytes(b"1" * 5000)
    assert "more than 4096 bytes" in lab.set({PANIC: "5"}).problems[PANIC]
    os.remove(lab.root / "proc/sys/kernel/panic")
    os.mkdir(lab.root / "proc/sys/kernel/panic")
    assert "is left as it is" in lab.set({PANIC: "5"}).problems[PANIC]


def test_a_value_that_the_kernel_refuses_is_a_problem_of_that_parameter_only(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = lab.parameters._write

    def refuse(parameter: Parameter, value: str) -> None:
        if value == "x":
            raise OSError(22, "Invalid argument")
        write(parameter, value)

    monkeypatch.setattr(lab.parameters, "_write", refuse)
    outcome = lab.set({PANIC: "x", RP_FILTER: "2"})
    assert outcome.problems == {
        PANIC: '/proc/sys/kernel/panic cannot be set to "x": Invalid argument: the kernel does not take this value'
    }
    assert lab.read("proc/sys/net/ipv4/conf/eth0/rp_filter") == "2"
    lab.set({})
    assert (lab.read("proc/sys/kernel/panic"), lab.parameters.has_records) == ("0", False)


def test_in_a_named_namespace_only_parameters_of_the_network_are_the_agents_own(tmp_path: Path, lab: Lab) -> None:
    lab.host = Host(refusal="the machine is not its own")
    lab.restart()
    outcome = lab.set({PANIC: "5", FORWARD: "1"})
    assert outcome.problems == {PANIC: "the machine is not its own"}
    assert (lab.read("proc/sys/kernel/panic"), lab.read("proc/sys/net/ipv4/ip_forward")) == ("0", "1")


def test_a_file_of_sysfs_must_be_that_of_the_agents_own_link(lab: Lab) -> None:
    id = "sys.class.net.eth0.gro_flush_timeout"
    lab.write("sys/class/net/eth0/gro_flush_timeout", "0")
    lab.write("sys/class/net/eth0/ifindex", "77")
    assert "another network namespace" in lab.set({id: "20000"}).problems[id]
    lab.write("sys/class/net/eth0/ifindex", "2")
    assert lab.set({id: "20000"}).problems == {}
    assert lab.read("sys/class/net/eth0/gro_flush_timeout") == "20000"


PID_MAX = "proc.sys.kernel.pid_max"
PID_MAX_FILE = "proc/sys/kernel/pid_max"


@pytest.mark.parametrize(
    ("before", "during"),
    [("262143", "262144"), ("262144", "262144"), ("4194304", "4194304"), ("-1", "262144"), ("many", "262144")],
)
def test_a_minimum_leaves_what_is_higher(lab: Lab, before: str, during: str) -> None:
    lab.write(PID_MAX_FILE, before)
    for _ in range(2):
        outcome = lab.at_least({PID_MAX: "262144"})
        assert (lab.read(PID_MAX_FILE), outcome.problems, outcome.news) == (during, {}, [])
        assert outcome.statuses[PID_MAX] == KernelParamStatusSpec(current=during, default=before)
        lab.restart()
    lab.at_least({})
    assert lab.read(PID_MAX_FILE) == before


@pytest.mark.parametrize("before", ["100", "4194304"])
def test_what_another_program_makes_higher_than_a_minimum_stays_and_what_it_makes_lower_does_not(
    lab: Lab, before: str
) -> None:
    lab.write(PID_MAX_FILE, before)
    lab.at_least({PID_MAX: "262144"})
    for value in ("5000000", "300000"):
        lab.write(PID_MAX_FILE, value)
        assert lab.at_least({PID_MAX: "262144"}).news == []
        assert lab.read(PID_MAX_FILE) == value
    lab.write(PID_MAX_FILE, "200")
    assert 'was changed to "200"' in lab.at_least({PID_MAX: "262144"}).news[0]
    assert lab.read(PID_MAX_FILE) == "300000"
    lab.at_least({})
    assert lab.read(PID_MAX_FILE) == "300000"


def test_a_value_that_the_configuration_named_is_not_higher_than_a_minimum(lab: Lab) -> None:
    lab.write(PID_MAX_FILE, "100")
    lab.set({PID_MAX: "5000000"})
    assert lab.read(PID_MAX_FILE) == "5000000"
    lab.at_least({PID_MAX: "262144"})
    assert lab.read(PID_MAX_FILE) == "262144"
    # Named, a lower one counts.
    lab.set({PID_MAX: "1000"})
    assert lab.read(PID_MAX_FILE) == "1000"
    lab.at_least({})
    assert lab.read(PID_MAX_FILE) == "100"
