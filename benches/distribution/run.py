#!/usr/bin/env python3
"""One file from one store to many hosts, each in a network namespace with a shaped link: `deploy` beside other tools.

    run.py SWARM [--hosts 8] [--rate 100] [--store-rate R] [--mib 256] [--kill K] [--runs 1] WAY...

SWARM is the built example `swarm` of deploy-distribution. A WAY is `deploy`, `one` (one lone download from nginx), `nginx` (all of
them) or `libtorrent` (with a python that has it: --python). Rates are Mbit/s, both ways. --kill ends K of the hosts of `deploy` at
half time. Needs root, iproute2, curl, and nginx. Prints a line of a table for each way: seconds to the last host, that divided by
size / rate (of the slowest link that all of it has to pass), copies that left the store (all bytes of its link, headers included),
CPU seconds a GiB delivered, and the largest resident set of the store and of a host.
"""
import argparse, hashlib, os, random, selectors, shutil, subprocess, sys, tempfile, time

HERE = os.path.dirname(os.path.abspath(__file__))
BRIDGE, SPACE = "dbr0", "dn"


def sh(command):
    subprocess.run(command, shell=True, check=True)


def address(number):
    return f"10.78.0.{number + 1}"


class Net:
    """Node 0 is the store. tbf on both ends of each link: out of the namespace, and into it."""

    def __init__(self, hosts, rate, store_rate):
        self.nodes = hosts + 1
        self.close()
        sh(f"ip link add {BRIDGE} type bridge && ip link set {BRIDGE} up")
        for node in range(self.nodes):
            r = store_rate if node == 0 else rate
            sh(f"ip netns add {SPACE}{node}")
            sh(f"ip link add dv{node} type veth peer name e0 netns {SPACE}{node}")
            sh(f"ip link set dv{node} master {BRIDGE} up")
            sh(f"ip -n {SPACE}{node} addr add {address(node)}/24 dev e0")
            sh(f"ip -n {SPACE}{node} link set e0 up && ip -n {SPACE}{node} link set lo up")
            sh(f"ip netns exec {SPACE}{node} tc qdisc add dev e0 root tbf rate {r}mbit burst 256k latency 40ms")
            sh(f"tc qdisc add dev dv{node} root tbf rate {r}mbit burst 256k latency 40ms")

    def sent_by_store(self):
        return int(open("/sys/class/net/dv0/statistics/rx_bytes").read())

    def close(self):
        spaces = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True).stdout
        for line in spaces.splitlines():
            name = line.split(" ")[0]
            if name.startswith(SPACE):
                subprocess.run(["ip", "netns", "del", name])
        subprocess.run(f"ip link del {BRIDGE} 2>/dev/null", shell=True)


class Node:
    def __init__(self, number, command):
        command = ["ip", "netns", "exec", f"{SPACE}{number}", *command]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)

    def line(self, word):
        for line in self.process.stdout:
            if line.startswith(word):
                return line.split()
        raise SystemExit(f"it ended before {word}: {self.process.args}")

    def say(self):
        self.process.stdin.write("go\n")
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
    names = [f"h{n}" for n in range(1, o.hosts + 1)]
    pairs = " ".join(f"{name}={address(n)}" for n, name in enumerate(["store", *names]))
    sh(f"{o.swarm} certs {work}/certs {pairs}")
    store = Node(0, [o.swarm, "store", f"{work}/certs", file, f"{address(0)}:7000"])
    blob = store.line("READY")[1]
    hosts = [
        Node(n, [o.swarm, "host", f"{work}/certs", f"h{n}", f"{address(n)}:7000", f"{address(0)}:7000", blob, f"{work}/h{n}"])
        for n in range(1, o.hosts + 1)
    ]
    for host in hosts:
        host.line("READY")
    sent, began = net.sent_by_store(), time.time()
    for host in hosts:
        host.say()
    victims = hosts[: o.kill]
    ideal = o.mib * 2**20 * 8 / (min(o.rate, o.store_rate) * 1e6)
    last = last_done(hosts, began, victims, ideal / 2)
    sent = net.sent_by_store() - sent
    living = hosts[o.kill :]
    used = [host.end() for host in living]
    used.append(store.end())
    return last, sent, used, [f"{work}/h{n}/{blob}" for n in range(o.kill + 1, o.hosts + 1)]


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
    sent = net.sent_by_store() - sent
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
    sent = net.sent_by_store() - sent
    used = [host.end() for host in hosts]
    used.append(store.end())
    return last, sent, used, [f"{work}/t{n}/{os.path.basename(file)}" for n in range(1, o.hosts + 1)]


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
    parser.add_argument("--python", default=sys.executable)
    o = parser.parse_args()
    o.store_rate = o.store_rate or o.rate
    size = o.mib << 20
    print("| way | last host, s | x size / rate | copies | CPU s a GiB | RSS store / host, MiB |")
    print("|---|--:|--:|--:|--:|--:|", flush=True)
    for way in [way for _ in range(o.runs) for way in o.ways]:
        work = tempfile.mkdtemp(dir="/dev/shm")
        net = Net(o.hosts, o.rate, o.store_rate)
        try:
            file = f"{work}/file"
            chance = random.Random(1)
            data = b"".join(chance.randbytes(1 << 20) for _ in range(o.mib))
            open(file, "wb").write(data)
            digest = hashlib.sha256(data).digest()
            del data
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
        ideal = size * 8 / (min(o.rate, o.store_rate) * 1e6)
        cpu = sum(it[0] for it in used) / (len(files) * size / 2**30)
        rss = f"{used[-1][1]:.0f} / {max(it[1] for it in used[:-1]):.0f}"
        print(f"| {way} | {last:.2f} | {last / ideal:.3f} | {sent / size:.3f} | {cpu:.1f} | {rss} |", flush=True)


main()
