"""Several files are one configuration, and each mistake is shown in the file that makes it."""

import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodespan.controllers.config.loaded import Loaded
from nodespan.controllers.config.loading import load, load_sources, read_and_load
from nodespan.controllers.config.sources import SourceText, bundle, unbundle
from nodespan.resources.config import KubeNetworkConfig, LinkConfig
from tests.controllers.config.marked import unmark
from tests.controllers.config.samples import SAMPLES
from tests.controllers.config.test_hostile_texts import PIECES, QUICK


def sources(*texts: str) -> Loaded:
    """What files a, b, c, ... say together."""
    named = zip("abcdef", texts, strict=False)
    return load_sources([SourceText(name=name, text=textwrap.dedent(text)) for name, text in named])


def interfaces(items: str) -> str:
    return f"machine: {{type: controlplane, network: {{interfaces: [{items}]}}}}\n"


LINK = "apiVersion: v1alpha1\nkind: LinkConfig\nname: {name}\n{rest}\n"


@pytest.mark.parametrize(
    ("first", "second", "together"),
    [
        ("machine: {type: worker}", "machine: {type: controlplane}", "machine: {type: controlplane}"),
        (
            "machine: {env: {A: '1', B: '2'}}",
            "machine: {env: {B: '3', C: '4'}}",
            "machine: {env: {A: '1', B: '3', C: '4'}}",
        ),
        ("machine: {type: controlplane}", "cluster: {id: a}", "machine: {type: controlplane}\ncluster: {id: a}"),
        (
            "machine: {network: {nameservers: [10.0.0.1]}}",
            "machine: {network: {nameservers: [10.0.0.2, 10.0.0.1]}}",
            "machine: {network: {nameservers: [10.0.0.1, 10.0.0.2, 10.0.0.1]}}",
        ),
        ("machine: {type: controlplane}", "machine: {type: ~}", "machine: {type: controlplane}"),
        ("machine: {type: controlplane}", "machine: ~", "machine: {type: controlplane}"),
        ("machine: ~", "machine: {type: controlplane}", "machine: {type: controlplane}"),
        ("machine: {type: controlplane}", "", "machine: {type: controlplane}"),
        (
            interfaces("{interface: a, mtu: 1400, addresses: [10.0.0.1/24]}, {interface: b}"),
            interfaces("{interface: c}, {interface: a, dhcp: true, mtu: 1500, addresses: [10.0.0.2/24]}"),
            interfaces(
                "{interface: a, mtu: 1500, addresses: [10.0.0.1/24, 10.0.0.2/24], dhcp: true}, "
                "{interface: b}, {interface: c}"
            ),
        ),
        (
            interfaces("{deviceSelector: {driver: a, busPath: b}}, {deviceSelector: {driver: a}, mtu: 1300}"),
            interfaces("{deviceSelector: {busPath: b, driver: a}, mtu: 1400}, {deviceSelector: {busPath: b}}"),
            interfaces(
                "{deviceSelector: {driver: a, busPath: b}, mtu: 1400}, {deviceSelector: {driver: a}, mtu: 1300}, "
                "{deviceSelector: {busPath: b}}"
            ),
        ),
        (
            interfaces("{interface: a, vlans: [{vlanId: 1, mtu: 1400}, {vlanId: 2}]}"),
            interfaces("{interface: a, vlans: [{vlanId: 3}, {vlanId: 1, dhcp: true}]}"),
            interfaces("{interface: a, vlans: [{vlanId: 1, mtu: 1400, dhcp: true}, {vlanId: 2}, {vlanId: 3}]}"),
        ),
        (
            interfaces("{interface: a, routes: [{gateway: 10.0.0.1}]}"),
            interfaces("{interface: a, routes: [{gateway: 10.0.0.1}]}"),
            interfaces("{interface: a, routes: [{gateway: 10.0.0.1}, {gateway: 10.0.0.1}]}"),
        ),
        (
            LINK.format(name="a", rest="mtu: 1400\naddresses: [{address: 10.0.0.1/24}]"),
            LINK.format(name="a", rest="up: false\naddresses: [{address: 10.0.0.2/24}]"),
            LINK.format(
                name="a", rest="mtu: 1400\nup: false\naddresses: [{address: 10.0.0.1/24}, {address: 10.0.0.2/24}]"
            ),
        ),
        (
            LINK.format(name="a", rest=""),
            LINK.format(name="b", rest=""),
            LINK.format(name="a", rest="") + "---\n" + LINK.format(name="b", rest=""),
        ),
        (
            "apiVersion: v1alpha1\nkind: KubeSpanEndpointsConfig\nextraAnnouncedEndpoints: ['10.0.0.1:1']",
            "apiVersion: v1alpha1\nkind: KubespanEndpointsConfig\nextraAnnouncedEndpoints: ['10.0.0.2:1']",
            (
                "apiVersion: v1alpha1\nkind: KubeSpanEndpointsConfig\n"
                "extraAnnouncedEndpoints: ['10.0.0.1:1', '10.0.0.2:1']"
            ),
        ),
    ],
)
def test_two_files_are_merged_into_one_configuration(first: str, second: str, together: str) -> None:
    merged, written = sources(first, second), load(together)
    assert (merged.errors, written.errors) == ((), ())
    assert (merged.config.main, merged.config.documents) == (written.config.main, written.config.documents)
    # What is kept as one text says the same again.
    again = load(merged.config.text)
    assert again.errors == ()
    assert (again.config.main, again.config.documents) == (written.config.main, written.config.documents)


def test_a_document_may_be_repeated_in_another_file_and_not_in_its_own() -> None:
    one = LINK.format(name="a", rest="")
    (problem,) = sources(one, one + "---\n" + one).errors
    assert (problem.file, problem.line, problem.column) == ("b", 8, 7)
    assert "stands further up already" in problem.message


def test_three_files_merge_in_their_order() -> None:
    loaded = sources("machine: {type: worker}", "machine: {type: controlplane}", "machine: {type: init}")
    assert loaded.config.machine.type == "init"


def test_mistakes_are_shown_in_their_file() -> None:
    first, first_places = unmark("""
        machine:
          network:
            interfaces:
              - interface: a
                addresses: [10.0.0.1/24, ‸10.0.0.300/24]
    """)
    second, second_places = unmark("""
        machine:
          ‸kubespan: {}
          network:
            interfaces:
              - interface: a
                mtu: ‸big
                addresses: [‸10.0.0.400/24]
    """)
    loaded = sources(first, second)
    assert [(problem.file, problem.line, problem.column) for problem in loaded.problems] == [
        *(("a", *place) for place in first_places),
        *(("b", *place) for place in second_places),
    ]
    shown = loaded.render(loaded.problems[-1])
    assert shown.splitlines()[1].endswith("        addresses: [10.0.0.400/24]")


def test_rules_between_documents_see_all_files() -> None:
    kubespan = "apiVersion: v1alpha1\nkind: KubeSpanConfig\nenabled: true\n"
    (problem,) = sources("machine: {type: worker}", kubespan).errors
    assert (problem.file, problem.line) == ("b", 3)
    assert "needs a discovery service" in problem.message


def test_mistakes_of_all_files_are_reported_though_one_cannot_be_read() -> None:
    loaded = sources("machine: {type: boss}", "machine: [", LINK.format(name="''", rest=""))
    assert sorted((problem.file, problem.line) for problem in loaded.errors) == [("a", 1), ("b", 1), ("c", 3)]


def test_a_file_that_is_missing_does_not_hide_the_mistakes_of_the_others(tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text("machine: {type: boss}")
    loaded = read_and_load(tmp_path / "none.yaml", tmp_path / "good.yaml")
    assert [problem.file for problem in loaded.errors] == [str(tmp_path / "none.yaml"), str(tmp_path / "good.yaml")]


def test_a_directory_stands_for_its_yaml_files_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name, type in (("20-b.yaml", "controlplane"), ("10-a.yaml", "worker"), ("30.yml", "boss"), (".x.yaml", "boss")):
        (tmp_path / name).write_text(f"machine: {{type: {type}}}")
    loaded = read_and_load(tmp_path)
    assert loaded.errors == ()
    assert loaded.config.machine.type == "controlplane"
    assert list(loaded.texts) == [str(tmp_path / "10-a.yaml"), str(tmp_path / "20-b.yaml")]


def test_a_directory_without_files_is_a_mistake(tmp_path: Path) -> None:
    (problem,) = read_and_load(tmp_path).errors
    assert "no file in this directory ends in .yaml" in problem.message


def test_places_in_a_merged_text_are_its_own_lines() -> None:
    text = bundle(
        [
            SourceText(name="a.yaml", text="machine: {type: worker}"),
            SourceText(name="b.yaml", text="---\nmachine:\n  network: {}\n  type: boss\n"),
        ]
    )
    (problem,) = load(text, name="kept.yaml").errors
    lines = text.split("\n")
    assert problem.file == "kept.yaml"
    assert lines[problem.line - 1] == "  type: boss"
    assert "boss" in load(text).render(problem)


def test_one_file_is_kept_as_it_was_written() -> None:
    text = "# mine\nmachine: {}\n"
    assert bundle([SourceText(name="a", text=text)]) == text
    assert load(text).config.text == text


def test_a_merged_text_can_be_merged_again() -> None:
    kept = sources("machine: {env: {A: a}}", "machine: {env: {B: b}}").config.text
    assert sources(kept, "machine: {env: {C: c}}").config.machine.env == {"A": "a", "B": "b", "C": "c"}


def test_links_keep_the_order_of_their_first_appearance() -> None:
    texts = [LINK.format(name=name, rest="") for name in "abcab"]
    assert [link.name for link in sources(*texts).config.documents_of(LinkConfig)] == ["a", "b", "c"]


@given(st.lists(st.lists(PIECES, max_size=12).map("".join), min_size=2, max_size=3), st.sampled_from(sorted(SAMPLES)))
@QUICK
def test_any_files_can_be_loaded_and_their_problems_rendered(texts: list[str], name: str) -> None:
    loaded = sources(SAMPLES[name], *texts)
    for problem in loaded.problems:
        assert loaded.render(problem)


NAMES = st.text(min_size=1, max_size=8)
LINES = st.lists(st.sampled_from(["", "a: b", "---", "# x", "  - é", "\u2028", "# nodespan: the file x"]), max_size=6)


@given(st.lists(st.tuples(NAMES, LINES), min_size=2, max_size=4))
def test_every_file_can_be_recovered_from_the_merged_text(files: list[tuple[str, list[str]]]) -> None:
    given = [SourceText(name=name, text="\n".join(lines)) for name, lines in files]
    texts = [part.text.lstrip("\n") for part in unbundle(SourceText(name="kept", text=bundle(given)))]
    # A text that looks like a mark by itself is cut there, and is the same text all the same.
    assert "".join(texts).split() == [word for text in given for word in unmarked(text.text).split()]


def unmarked(text: str) -> str:
    return (text + "\n").replace("---\n# nodespan: the file x\n", "")


def test_the_subnets_of_pods_and_services_are_replaced() -> None:
    loaded = sources(
        "cluster: {network: {podSubnets: [10.1.0.0/16], serviceSubnets: [10.2.0.0/16]}}",
        "cluster: {network: {podSubnets: [10.3.0.0/16]}}",
    )
    network = loaded.config.cluster.network
    assert network is not None
    assert (network.pod_subnets, network.service_subnets) == (("10.3.0.0/16",), ("10.2.0.0/16",))
    head = "apiVersion: v1alpha1\nkind: KubeNetworkConfig\n"
    loaded = sources(
        f"{head}podSubnets: [10.1.0.0/16]\nserviceSubnets: [10.2.0.0/16]", f"{head}serviceSubnets: [10.4.0.0/16]"
    )
    (document,) = loaded.config.documents_of(KubeNetworkConfig)
    assert (document.pod_subnets, document.service_subnets) == (("10.1.0.0/16",), ("10.4.0.0/16",))
