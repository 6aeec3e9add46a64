"""Makes torrents with libtorrent for the tests: a JSON request per line in, info-hashes and the file out."""
import hashlib
import json
import os
import sys

import libtorrent as lt

CREATE = lt.create_torrent
FLAGS = {"v1": CREATE.v1_only, "aligned": CREATE.v1_only | CREATE.canonical_files, "v2": CREATE.v2_only, "hybrid": 0}

for line in sys.stdin:
    wanted = json.loads(line)
    flags = CREATE.no_attributes if wanted["no_attributes"] else 0
    files = lt.list_files(wanted["path"], lambda _: True, flags)
    # For v1 it takes them in the order of the directories, which is another on every disk.
    files.sort(key=lambda file: file.filename.encode())
    torrent = CREATE(files, wanted["piece_length"], FLAGS[wanted["version"]])
    torrent.set_priv(wanted["private"])
    lt.set_piece_hashes(torrent, os.path.dirname(wanted["path"]))
    info = lt.bencode(torrent.generate()[b"info"])
    print(json.dumps({"v1": hashlib.sha1(info).hexdigest(), "v2": hashlib.sha256(info).hexdigest()}), flush=True)
