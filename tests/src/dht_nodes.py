"""Runs a DHT of libtorrent nodes for the tests, each at an address of its own: a JSON request per line in, a JSON
answer per line out."""
import json
import sys

import libtorrent as lt

port = int(sys.argv[1])
ips = sys.argv[2:]
# What an attacker could do with many addresses is no matter among nodes that are all at neighbouring ones.
settings = {
    "enable_dht": True, "enable_lsd": False, "enable_upnp": False, "enable_natpmp": False,
    "dht_restrict_routing_ips": False, "dht_restrict_search_ips": False,
    "dht_upload_rate_limit": 1000000, "dht_block_ratelimit": 1000, "alert_mask": 0,
}
sessions = []
for ip in ips:
    listen = {"listen_interfaces": "%s:%d" % (ip, port), "outgoing_interfaces": ip}
    # A bootstrap node of its settings would be none of its table.
    session = lt.session({**settings, **listen, "dht_bootstrap_nodes": ""})
    sessions.append(session)


def join(_):
    """Has each ask the first and the one before it."""
    for at, session in enumerate(sessions[1:]):
        for ip in {ips[0], ips[at]}:
            session.add_dht_node((ip, port))


def known(_):
    """How many nodes each has in its table."""
    return [session.status().dht_nodes for session in sessions]


answers = {"join": join, "known": known}
for line in sys.stdin:
    wanted = json.loads(line)
    try:
        answer = {"ok": answers[wanted["do"]](wanted)}
    except Exception as error:
        answer = {"error": repr(error)}
    print(json.dumps(answer), flush=True)
