"""A libtorrent node: `torrent.py make FILE TORRENT PIECE`, or `torrent.py TORRENT FOLDER ADDRESS PEERS`, where `-` as PEERS seeds."""
import os, sys
import libtorrent as lt

if sys.argv[1] == "make":
    _, _, file, out, piece = sys.argv
    files = lt.file_storage()
    lt.add_files(files, file)
    made = lt.create_torrent(files, int(piece))
    lt.set_piece_hashes(made, os.path.dirname(os.path.abspath(file)))
    open(out, "wb").write(lt.bencode(made.generate()))
    sys.exit(0)

_, torrent, folder, address, peers = sys.argv
session = lt.session({
    "listen_interfaces": address, "enable_dht": False, "enable_lsd": False, "enable_upnp": False, "enable_natpmp": False,
    "allow_multiple_connections_per_ip": True, "enable_incoming_utp": False, "enable_outgoing_utp": False,
    "out_enc_policy": int(lt.enc_policy.disabled), "in_enc_policy": int(lt.enc_policy.disabled),
    "unchoke_slots_limit": -1, "mixed_mode_algorithm": 0, "connection_speed": 200, "torrent_connect_boost": 60,
    "min_reconnect_time": 1, "rate_limit_ip_overhead": False, "strict_end_game_mode": True, "auto_sequential": False,
    "aio_threads": 2, "hashing_threads": 1, "send_buffer_watermark": 1000000,
})
parameters = lt.add_torrent_params()
parameters.ti = lt.torrent_info(torrent)
parameters.save_path = folder
parameters.flags &= ~lt.torrent_flags.auto_managed & ~lt.torrent_flags.paused
if peers == "-":
    parameters.flags |= lt.torrent_flags.seed_mode | lt.torrent_flags.super_seeding
print("READY", flush=True)
if peers != "-":
    sys.stdin.readline()
handle = session.add_torrent(parameters)
if peers != "-":
    for peer in peers.split(","):
        if peer != address:
            host, port = peer.split(":")
            handle.connect_peer((host, int(port)))
while not handle.status().is_seeding:
    session.wait_for_alert(50)
    session.pop_alerts()
print("DONE", flush=True)
sys.stdin.readline()
os._exit(0)
