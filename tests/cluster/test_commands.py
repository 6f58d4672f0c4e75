"""The commands that make a cluster."""

from nodespan.cluster.commands import ROUTER_RULES, agent_command, discovery_command, enter, network_commands
from nodespan.cluster.plan import Plan

PLAN = Plan(name="lab", size=3)


def test_every_command_names_a_namespace_of_the_cluster() -> None:
    """Nothing is made in the machine's own namespace."""
    for command in network_commands(PLAN):
        named = [word for word in command if word.startswith(PLAN.namespace_prefix)]
        made_elsewhere = command[:3] == ("ip", "link", "add")
        assert len(named) == (2 if made_elsewhere else 1), command


def test_each_station_is_created_once_and_before_its_first_use() -> None:
    made: list[str] = []
    for command in network_commands(PLAN):
        if command[:3] == ("ip", "netns", "add"):
            made.append(command[3])
        else:
            assert {word for word in command if word.startswith(PLAN.namespace_prefix)} <= set(made)
    assert sorted(made) == sorted(station.namespace for station in PLAN.stations)


def test_every_station_but_the_bridge_gets_an_address_and_a_default_route() -> None:
    commands = set(network_commands(PLAN))
    for station in PLAN.stations[1:]:
        inside = ("ip", "-n", station.namespace)
        assert (*inside, "address", "add", f"{station.address}/24", "dev", "eth0") in commands
        assert (*inside, "route", "add", "default", "via", station.gateway) in commands


def test_the_last_node_is_connected_to_the_router_not_the_bridge() -> None:
    cables = [command for command in network_commands(PLAN) if command[:3] == ("ip", "link", "add")]
    ends = {(command[5], command[-1]) for command in cables}
    assert ("nodespan-lab-c", "nodespan-lab-router") in ends
    assert ("nodespan-lab-c", "nodespan-lab-internet") not in ends


def test_a_command_runs_with_its_stations_sockets_and_hostname() -> None:
    node = PLAN.nodes[1]
    line = enter(node, ("wg", "show"))
    assert line[:4] == ("ip", "netns", "exec", "nodespan-lab-b")
    assert line[-4:] == ("/run/nodespan/clusters/lab/b/wireguard", "lab-b", "wg", "show")


def test_an_agent_gets_its_own_paths() -> None:
    line = agent_command(PLAN.nodes[0])
    for option, value in {
        "--config": "/run/nodespan/clusters/lab/a/config.yaml",
        "--state-dir": "/run/nodespan/clusters/lab/a/state",
        "--socket": "/run/nodespan/nodes/lab-a.sock",
    }.items():
        assert line[line.index(option) + 1] == value


def test_the_discovery_service_listens_at_the_configured_endpoint() -> None:
    line = discovery_command(PLAN)
    assert f"http://{line[line.index('--listen') + 1]}/" == PLAN.discovery_url


def test_the_router_blocks_unsolicited_traffic() -> None:
    assert 'iifname "eth0" ct state new drop' in ROUTER_RULES
    assert "hook forward priority 0; policy drop" in ROUTER_RULES
    assert 'oifname "eth0" masquerade' in ROUTER_RULES
