# SPDX-License-Identifier: MIT
"""How long an answer takes: the node's DNS server beside dnsmasq with the same name in its own table, in turns, in one namespace.
Prints the median and the 99th percentile over UDP and TCP, for a name that is there and one that is not; and for names that are
asked for the first time, when the node must listen on all ports of a new address before it answers.

    P2P_BIN=build/release/p2p PYTHONPATH=tests/lib python3 tests/bench/dns_time.py
"""
import random, socket, statistics, struct, subprocess, sys, time

from lab import Lab, need, wait_for

COUNT = 3000
FIRST = 300
BOB = "12D3KooWQYhTNQdmr3ArTeUHRYzFg94BKyTkoWBDWez9kSCVe2Xo"


def query(name):
    labels = b"".join(bytes([len(l)]) + l for l in name.encode().split(b"."))
    return struct.pack(">HHHHHH", 1, 0x100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", 1, 1)


def udp(port, name):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(2)
    s.connect(("127.0.0.1", port))
    q = query(name)

    def ask():
        s.send(q)
        return s.recv(1500)
    return ask


def tcp(port, name):
    q = query(name)
    q = struct.pack(">H", len(q)) + q

    def ask():
        with socket.create_connection(("127.0.0.1", port), 2) as s:
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            s.sendall(q)
            return s.recv(1500)
    return ask


def inside():
    askers = {(kind.__name__, name, who): kind(port, name) for who, port in (("p2p", 5354), ("dnsmasq", 5300))
              for kind in (udp, tcp) for name in ("bob.overlay", "nobody.overlay")}
    times = {key: [] for key in askers}
    for ask in askers.values():
        ask()
    order = list(askers)
    for _ in range(COUNT):
        random.shuffle(order)
        for key in order:
            ask = askers[key]
            begin = time.perf_counter()
            ask()
            times[key].append(time.perf_counter() - begin)
    print("over\tname\tserver\tmedian µs\tp99 µs")
    for n in range(FIRST):
        ask = udp(5354, f"s{n}.bob.overlay")
        begin = time.perf_counter()
        ask()
        times.setdefault(("udp", "first time", "p2p"), []).append(time.perf_counter() - begin)
    for (kind, name, who), t in sorted(times.items()):
        t.sort()
        print(f"{kind}\t{name}\t{who}\t{statistics.median(t) * 1e6:.1f}\t{t[len(t) * 99 // 100] * 1e6:.1f}")


def main():
    need("dnsmasq")
    with Lab(1) as lab:
        a = lab.node(1, start=False, config="mdns = off\n")
        (a.home / "state").mkdir(mode=0o700)
        (a.home / "state" / "petnames").write_text(f"bob\t{BOB}\n")
        a.start()
        lab.popen(1, ["dnsmasq", "--keep-in-foreground", "--no-resolv", "--no-hosts", "--user=root", "--pid-file=", "--port=5300",
                      "--conf-file=/dev/null", "--listen-address=127.0.0.1", "--bind-interfaces", "--local=/overlay/",
                      "--host-record=bob.overlay,127.64.1.1", "--cache-size=1000"], stderr=subprocess.DEVNULL)
        listening = lambda: ":5300" in subprocess.run(lab.enter(1) + ["ss", "-uln"], capture_output=True, text=True).stdout
        wait_for("dnsmasq is there", listening)
        subprocess.run(lab.enter(1) + [sys.executable, __file__, "--inside"], check=True)


if __name__ == "__main__":
    inside() if "--inside" in sys.argv else main()
