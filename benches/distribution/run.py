#!/usr/bin/env python3
"""One file from one store to many hosts, each in a network namespace with a shaped link: `deploy` beside other tools.

    run.py SWARM [--hosts 8] [--rate 100] [--store-rate R] [--mib 256] [--kill K] [--runs 1]
                 [--zones 1] [--cross R] [--cap R] WAY...

SWARM is the built example `swarm` of deploy-distribution. A WAY is `deploy`, `one` (one lone download from nginx), `nginx` (all of
them) or `libtorrent` (with a python that has it: --python). Rates are Mbit/s, both ways. --kill ends K of the hosts of `deploy` at
half time. With --zones there is a relay for `deploy` in each zone, the store is in the first one, and zones are joined by one link of
--cross. --cap limits what the hosts of `deploy` take, live, once a fifth of it is there, and says how well that is kept. Needs root, iproute2, curl, and nginx. Prints a line of a table for each way: seconds to the last host, that divided by
size / rate (of the slowest link that all of it has to pass), copies that left the store (all bytes of its link, headers included),
CPU seconds a GiB delivered, and the largest resident set of the store and of a host. With zones, copies that crossed between
them come after those that left the store.
"""
import argparse, hashlib, os, random, selectors, shutil, subprocess, sys, tempfile, threading, time

HERE = os.path.dirname(os.path.abspath(__file__))
BRIDGE, SPACE = "dbr", "dn"


def sh(command):
    subprocess.run(command, shell=True, check=True)


def address(number):
    return f"10.78.0.{number + 1}"


class Net:
    """Node 0 is the store, then come hosts, then a relay for each zone where there are several. tbf on both ends of each link: out
    of the namespace, and into it. A zone is a bridge; the others are joined to the first one."""

    def __init__(self, o):
        self.hosts, self.zones = o.hosts, o.zones
        self.close()
        for zone in range(self.zones):
            sh(f"ip link add {BRIDGE}{zone} type bridge && ip link set {BRIDGE}{zone} up")
        for zone in range(1, self.zones):
            sh(f"ip link add dx{zone} type veth peer name dy{zone}")
            for end, bridge in ((f"dx{zone}", 0), (f"dy{zone}", zone)):
                sh(f"ip link set {end} master {BRIDGE}{bridge} up && {shaped(end, o.cross)}")
        for node in range(1 + self.hosts + (self.zones if self.zones > 1 else 0)):
            rate = o.store_rate if node == 0 else o.rate
            sh(f"ip netns add {SPACE}{node}")
            sh(f"ip link add dv{node} type veth peer name e0 netns {SPACE}{node}")
            sh(f"ip link set dv{node} master {BRIDGE}{self.zone(node)} up && {shaped(f'dv{node}', rate)}")
            sh(f"ip -n {SPACE}{node} addr add {address(node)}/24 dev e0")
            sh(f"ip -n {SPACE}{node} link set e0 up && ip -n {SPACE}{node} link set lo up")
            sh(f"ip netns exec {SPACE}{node} {shaped('e0', rate)}")

    def zone(self, node):
        if node > self.hosts:
            return node - self.hosts - 1
        return max(node - 1, 0) * self.zones // self.hosts

    def sent_by_store(self):
        return count("dv0", "rx")

    def crossed(self):
        return sum(count(f"dx{zone}", way) for zone in range(1, self.zones) for way in ("rx", "tx"))

    def taken_by(self, node):
        return count(f"dv{node}", "tx")

    def close(self):
        spaces = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True).stdout
        for line in spaces.splitlines():
            name = line.split(" ")[0]
            if name.startswith(SPACE):
                subprocess.run(["ip", "netns", "del", name])
        links = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True).stdout
        for name in [line.split(": ")[1].split("@")[0] for line in links.splitlines()]:
            if name.startswith((BRIDGE, "dx")):
                subprocess.run(["ip", "link", "del", name])


def shaped(link, rate):
    return f"tc qdisc add dev {link} root tbf rate {rate}mbit burst 256k latency 40ms"


def count(link, way):
    return int(open(f"/sys/class/net/{link}/statistics/{way}_bytes").read())


class Node:
    def __init__(self, number, command):
        command = ["ip", "netns", "exec", f"{SPACE}{number}", *command]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)

    def line(self, word):
        for line in self.process.stdout:
            if line.startswith(word):
                return line.split()
        raise SystemExit(f"it ended before {word}: {self.process.args}")

    def say(self, line="go"):
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def end(self, kill=False):
        """CPU seconds and the largest resident set in MiB."""
        status = open(f"/proc/{self.process.pid}/status").read()
        # What has ended by itself has none any more.
        peak = int(status.split("VmHWM:")[1].split()[0]) / 1024 if "VmHWM:" in status else 0
        if kill:
            self.process.terminate()
        else:
            self.process.stdin.close()
        _, _, used = os.wait4(self.process.pid, 0)
        self.process.returncode = 0
        return used.ru_utime + used.ru_stime, peak


def last_done(nodes, began, victims=(), at=None):
    """When the last of the nodes that live said DONE; kills the victims at that time."""
    waiting, last = {node.process.stdout: node for node in nodes}, 0
    with selectors.DefaultSelector() as selector:
        for stream in waiting:
            selector.register(stream, selectors.EVENT_READ)
        while waiting:
            if victims and time.time() - began >= at:
                for node in victims:
                    node.process.kill()
                    selector.unregister(node.process.stdout)
                    del waiting[node.process.stdout]
                victims = ()
            for key, _ in selector.select(0.02):
                line = key.fileobj.readline()
                if line.startswith("DONE"):
                    last = time.time() - began
                elif line:
                    continue
                elif not victims:
                    raise SystemExit("a host ended without the file")
                selector.unregister(key.fileobj)
                del waiting[key.fileobj]
    return last


def check(paths, digest):
    for path in paths:
        with open(path, "rb") as file:
            if hashlib.file_digest(file, "sha256").digest() != digest:
                raise SystemExit(f"{path} is wrong")


def deploy(o, net, work, file):
    hosts, relays = range(1, o.hosts + 1), range(o.hosts + 1, o.hosts + 1 + (o.zones if o.zones > 1 else 0))
    names = {0: "store"} | {n: f"h{n}" for n in hosts} | {n: f"r{n}" for n in relays}
    sh(f"{o.swarm} certs {work}/certs " + " ".join(f"{name}={address(n)}" for n, name in names.items()))
    at = {n: f"{address(n)}:7000" for n in names}
    store = Node(0, [o.swarm, "store", f"{work}/certs", file, at[0]])
    blob = store.line("READY")[1]
    start = lambda n, what, sources: Node(n, [o.swarm, what, f"{work}/certs", names[n], at[n], sources, blob, f"{work}/{names[n]}"])
    caches = [start(n, "relay", at[0]) for n in relays]
    for cache in caches:
        cache.line("READY")
    near = lambda n: [it for it in relays if net.zone(it) == net.zone(n)] + [0]
    nodes = [start(n, "host", ",".join(f"{names[it]}={at[it]}" for it in near(n))) for n in hosts]
    for host in nodes:
        host.line("READY")
    sent, crossed, began = net.sent_by_store(), net.crossed(), time.time()
    for host in nodes:
        host.say()
    victims = nodes[: o.kill]
    ideal = o.mib * 2**20 * 8 / (slowest(o) * 1e6)
    done = threading.Event()
    capped = threading.Thread(target=cap, args=(o, net, nodes, done))
    if o.cap:
        capped.start()
    last = last_done(nodes, began, victims, ideal / 2)
    done.set()
    if o.cap:
        capped.join()
    sent = net.sent_by_store() - sent, net.crossed() - crossed
    used = [it.end() for it in [*nodes[o.kill :], *caches, store]]
    return last, sent, used, [f"{work}/h{n}/{blob}" for n in hosts[o.kill :]]


def cap(o, net, nodes, done):
    """Limits the hosts live, and compares what they take from then on with the limit: over a second, and over any five."""
    size, rate, node = o.mib << 20, o.cap * 1e6 / 8, 1
    taken = lambda: net.taken_by(node)
    before = taken()
    while taken() - before < size / 5 and not done.is_set():
        time.sleep(0.01)
    for host in nodes:
        host.say(f"rate {int(rate)}")
    began, seen = time.time(), []
    while taken() - before < size * 0.98 and not done.is_set():
        seen.append((time.time() - began, taken()))
        time.sleep(0.05)

    def rates(seconds):
        for at, bytes in seen:
            later = next((it for it in seen if it[0] >= at + seconds), None)
            if later:
                yield at, (later[1] - bytes) / (later[0] - at) / rate

    effect = next((at for at, it in rates(1) if it <= 1.05), None)
    if effect is None or not list(rates(5)):
        print("# it was over too soon: a larger file shows how a limit is kept", flush=True)
        return
    kept = [it for at, it in rates(5) if at >= effect]
    print(f"# capped at {o.cap:g} Mbit/s: kept after {effect:.2f} s, then {min(kept):.3f} to {max(kept):.3f} of it over any 5 s", flush=True)


def nginx(o, net, work, file, hosts):
    conf = f"{work}/nginx.conf"
    open(conf, "w").write(
        f"daemon off; master_process off; pid {work}/pid; error_log /dev/null; events {{}} "
        f"http {{ access_log off; sendfile on; tcp_nopush on; server {{ listen {address(0)}:80; root {work}; }} }}"
    )
    store = Node(0, ["nginx", "-c", conf])
    time.sleep(0.5)
    name = os.path.basename(file)
    sent, began = net.sent_by_store(), time.time()
    gets = [
        Node(n, ["sh", "-c", f"curl -s -o {work}/c{n} http://{address(0)}/{name} && echo DONE"])
        for n in range(1, hosts + 1)
    ]
    last = last_done(gets, began)
    sent = net.sent_by_store() - sent, net.crossed()
    used = [get.end() for get in gets]
    used.append(store.end(kill=True))
    return last, sent, used, [f"{work}/c{n}" for n in range(1, hosts + 1)]


def libtorrent(o, net, work, file):
    node = f"{HERE}/torrent.py"
    sh(f"{o.python} {node} make {file} {work}/torrent {512 << 10}")
    store = Node(0, [o.python, node, f"{work}/torrent", os.path.dirname(file), f"{address(0)}:7000", "-"])
    store.line("READY")
    peers = ",".join(f"{address(n)}:7000" for n in range(o.hosts + 1))
    hosts = []
    for n in range(1, o.hosts + 1):
        os.makedirs(f"{work}/t{n}")
        hosts.append(Node(n, [o.python, node, f"{work}/torrent", f"{work}/t{n}", f"{address(n)}:7000", peers]))
    for host in hosts:
        host.line("READY")
    sent, began = net.sent_by_store(), time.time()
    for host in hosts:
        host.say()
    last = last_done(hosts, began)
    sent = net.sent_by_store() - sent, net.crossed()
    used = [host.end() for host in hosts]
    used.append(store.end())
    return last, sent, used, [f"{work}/t{n}/{os.path.basename(file)}" for n in range(1, o.hosts + 1)]


def slowest(o):
    """The link that all of it has to pass."""
    return min(o.rate, o.store_rate, o.cross if o.zones > 1 else o.rate)


def write(path, mib):
    """A file that no two bytes of say anything of each other, and its digest."""
    chance, digest = random.Random(1), hashlib.sha256()
    with open(path, "wb") as file:
        for _ in range(mib):
            data = chance.randbytes(1 << 20)
            digest.update(data)
            file.write(data)
    return digest.digest()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("swarm")
    parser.add_argument("ways", nargs="+", choices=["deploy", "libtorrent", "nginx", "one"])
    parser.add_argument("--hosts", type=int, default=8)
    parser.add_argument("--rate", type=float, default=100)
    parser.add_argument("--store-rate", type=float)
    parser.add_argument("--mib", type=int, default=256)
    parser.add_argument("--kill", type=int, default=0)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--zones", type=int, default=1)
    parser.add_argument("--cross", type=float, default=50)
    parser.add_argument("--cap", type=float)
    parser.add_argument("--python", default=sys.executable)
    o = parser.parse_args()
    o.store_rate = o.store_rate or o.rate
    size = o.mib << 20
    print("| way | last host, s | x size / rate | copies | CPU s a GiB | RSS store / host, MiB |")
    print("|---|--:|--:|--:|--:|--:|", flush=True)
    for way in [way for _ in range(o.runs) for way in o.ways]:
        work = tempfile.mkdtemp(dir="/dev/shm")
        net = Net(o)
        try:
            file = f"{work}/file"
            digest = write(file, o.mib)
            if way == "deploy":
                last, sent, used, files = deploy(o, net, work, file)
            elif way == "libtorrent":
                last, sent, used, files = libtorrent(o, net, work, file)
            else:
                last, sent, used, files = nginx(o, net, work, file, 1 if way == "one" else o.hosts)
            check(files, digest)
        finally:
            net.close()
            shutil.rmtree(work)
        ideal = size * 8 / (slowest(o) * 1e6)
        cpu = sum(it[0] for it in used) / (len(files) * size / 2**30)
        rss = f"{used[-1][1]:.0f} / {max(it[1] for it in used[:-1]):.0f}"
        copies = " / ".join(f"{it / size:.3f}" for it in sent[: min(o.zones, 2)])
        print(f"| {way} | {last:.2f} | {last / ideal:.3f} | {copies} | {cpu:.1f} | {rss} |", flush=True)


main()
