#!/bin/sh
# Reverts what the agent changed of the system. A package does so before it goes: without the program nothing could
# later, and packets to peers would be dropped for ever. Usage: leave.sh [STATE_DIRECTORY]
#
# An agent that answers leaves. If none does (it was stopped before, was killed, hangs), another one is started without a
# configuration: the state directory tells it what there is to revert. The status is 0 if nothing is left. Otherwise it
# is 1, and a file in the state directory says so, which must not be removed then. No step lasts for ever.
state=${1:-/var/lib/nodespan}
mark=$state/not-reverted

limited() {
    timeout --kill-after=10 "$@"
}

answers() {
    limited 20 nodespan get agentlifecycles > /dev/null 2>&1
}

leave() {
    limited 120 nodespan leave
}

rm -f "$mark"
if answers && leave; then
    exit 0
fi
if [ ! -d "$state" ] || [ -z "$(ls -A "$state")" ]; then
    exit 0
fi
# One that hangs is killed by systemd. Where that does not run, there is nothing to stop.
limited 120 systemctl stop nodespan.service > /dev/null 2>&1
echo "nodespan: no agent has left by itself: another one reverts what there is" >&2
# Not by the function: its process would be that of a shell, which passes no signals on.
timeout --kill-after=10 240 nodespan agent --cleanup --log-level error > /dev/null &
agent=$!
status=1
tries=60
while [ "$tries" -gt 0 ] && kill -0 "$agent" 2> /dev/null; do
    if answers; then
        if leave; then
            status=0
        fi
        break
    fi
    tries=$((tries - 1))
    sleep 1
done
if [ "$status" -ne 0 ]; then
    kill "$agent" 2> /dev/null
    : > "$mark"
    echo "nodespan: not everything could be reverted. $state is kept: once nodespan is installed again," >&2
    echo "nodespan: 'nodespan agent --cleanup' goes on from it" >&2
fi
wait "$agent"
exit "$status"
