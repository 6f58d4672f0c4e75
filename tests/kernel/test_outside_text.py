"""Names that are bytes: shown escaped, each as itself, and found again."""

import os
from pathlib import Path

import pytest

from nodespan.controllers.host import hostname_spec
from nodespan.controllers.host.hostname_spec import Names, SystemNames
from nodespan.controllers.network.apply.disturbances import program_of
from nodespan.controllers.network.naming.name_facts import read_name_facts
from nodespan.kernel.hardware.sysfs import read_device
from nodespan.kernel.net_counts import Traffic, traffic_of
from nodespan.kernel.outside_text import bytes_of, c_text, file_name, read_line
from nodespan.kernel.packet_sockets import link_request

# Bytes that are no UTF-8, a cut character, a control character of each kind, and what turns a line around.
NAMES = {
    b"\xff0": "\\xff0",
    b"eth\xc3": "eth\\xc3",
    b"a\x1b[2J": "a\\x1b[2J",
    b"a\xc2\x9bx": "a\\xc2\\x9bx",
    b"a\xe2\x80\xaex": "a\\xe2\\x80\\xaex",
    b"a\\xff": "a\\x5cxff",
    "größe".encode(): "größe",
}


@pytest.mark.parametrize("name", NAMES, ids=NAMES.values())
def test_a_name_is_shown_and_found_again(name: bytes, tmp_path: Path) -> None:
    shown = c_text(name + b"\0rest")
    assert shown == NAMES[name]
    assert shown.isprintable()
    assert bytes_of(shown) == name
    assert os.fsencode(file_name(shown)) == name
    assert link_request(shown) == name
    # In sysfs, which two readers look into.
    link = tmp_path / "class" / "net" / os.fsdecode(name)
    (link / "device").mkdir(parents=True)
    (link / "ifindex").write_text("7\n")
    (link / "device" / "uevent").write_text("DRIVER=virtio_net\n")
    assert read_device(shown, 7, tmp_path).driver == "virtio_net"
    assert read_name_facts(shown, 7, tmp_path) is not None
    # As that of a process.
    (tmp_path / "77").mkdir()
    (tmp_path / "77" / "comm").write_bytes(name + b"\n")
    assert program_of(77, tmp_path) == f"another program ({shown}, process 77)"


def test_names_are_distinct_however_they_are_shown() -> None:
    assert len({c_text(name) for name in NAMES}) == len(NAMES)
    with pytest.raises(OSError, match="No such device"):
        link_request("longer than any link")


def test_a_host_name_that_is_no_text_is_kept_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hostname_spec, "_KERNEL", tmp_path)
    for file, content in (("hostname", b"web\xff\n"), ("domainname", b"(none)\n")):
        (tmp_path / file).write_bytes(content)
    names = SystemNames()
    before = names.read()
    assert before == Names("web\\xff", "(none)")
    names.write(Names("other", "(none)"))
    assert read_line(tmp_path / "hostname") == "other"
    names.write(before)
    assert (tmp_path / "hostname").read_bytes() == b"web\xff\n"


@pytest.mark.parametrize("name", ["x\x1ekubespan", "x\u2028kubespan", "x\udcff", "x\x85kubespan"])
def test_what_ends_a_line_elsewhere_ends_none_in_the_counters_of_links(name: str) -> None:
    counters = " ".join(["9"] * 16)
    text = f"Inter-|\n face |\n{name}: {counters}\nkubespan: {' '.join(map(str, range(16)))}\n"
    assert traffic_of("kubespan", os.fsencode(text)) == Traffic(received=1, sent=9, received_bytes=0, sent_bytes=8)
