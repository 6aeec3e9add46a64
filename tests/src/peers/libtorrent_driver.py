"""Runs one libtorrent session for the tests: a JSON request per line in, a JSON answer per line out."""
import json
import sys

import libtorrent as lt

ip, port = sys.argv[1:3]
manner = json.loads(sys.argv[3])
nodes = [node.rsplit(":", 1) for node in manner["dht"]]
# In its words: forced and disabled; encrypted payload only.
policy = 0 if manner["encryption"] else 2
session = lt.session({
    "listen_interfaces": ("[%s]:%s" if ":" in ip else "%s:%s") % (ip, port),
    "outgoing_interfaces": ip,
    "enable_dht": bool(nodes), "dht_bootstrap_nodes": "", "enable_lsd": manner["lsd"], "enable_upnp": False, "enable_natpmp": False,
    "enable_outgoing_utp": False, "enable_incoming_utp": False,
    "out_enc_policy": policy, "in_enc_policy": policy, "allowed_enc_level": 2, "prefer_rc4": True,
    "allow_multiple_connections_per_ip": True, "min_reconnect_time": 1,
    "download_rate_limit": manner["down"],
    "active_downloads": -1, "active_seeds": -1, "active_limit": 1000,
})
for host, node_port in nodes:
    session.add_dht_node((host, int(node_port)))
handles = {}


def add(request):
    if "magnet" in request:
        params = lt.parse_magnet_uri(request["magnet"])
    elif hasattr(lt, "load_torrent_file"):
        params = lt.load_torrent_file(request["torrent"])
    else:
        params = lt.add_torrent_params()
        params.ti = lt.torrent_info(request["torrent"])
    params.save_path = request["folder"]
    params.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
    if not manner["pex"]:
        params.flags |= lt.torrent_flags.disable_pex
    handles[request["hash"]] = session.add_torrent(params)


def complete(request):
    status = handles[request["hash"]].status()
    if status.errc.value():
        raise RuntimeError(status.errc.message())
    return bool(status.is_seeding)


answers = {
    "ping": lambda _: session.listen_port(), "nodes": lambda _: session.status().dht_nodes, "add": add,
    "complete": complete,
}
for line in sys.stdin:
    wanted = json.loads(line)
    try:
        answer = {"ok": answers[wanted["do"]](wanted)}
    except Exception as error:
        answer = {"error": repr(error)}
    print(json.dumps(answer), flush=True)
