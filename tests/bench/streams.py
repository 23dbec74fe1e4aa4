#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Measures streams: a TCP forward against what else carries one encrypted, streams as files against sockets, many idle ones.

    sudo P2P_BIN=build/release/p2p tests/bench/streams.py [--seconds 2] [--rounds 3] [--json] [MEASURE …]

Measures: forward, files, idle; all of them when none is named. Everything is on the loopback interface of one namespace that cannot reach
outside; every pair is measured alternately, and the median is printed, with the aim and whether it is met. Rivals that are not installed
(packages.txt, [bench]; Kubo is built by tests/interop/setup; dumbpipe by `cargo install dumbpipe`, its program in DUMBPIPE_BIN or PATH) are left
out, with a line that says so. Not a test: nothing fails.
"""
import argparse, json, os, pathlib, socket, statistics, subprocess, sys, time, unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "lib"), str(HERE.parent / "interop")]
from lab import Loopback, need, wait_for
import interop_kubo
import net

MIB = 1 << 20
BULK, ECHO = 5201, 5202  # what is reached through every route
IDLE = 1000
SEALED = ("ssh chacha20", "socat TLS chacha20", "Kubo", "dumbpipe")  # ChaCha20-Poly1305, or QUIC: those to be ahead of


class Options:
    seconds, rounds, json = 2, 3, False


options = Options()

ECHO_SERVER = """
import socket, threading
def serve(c):
    with c:
        c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while data := c.recv(65536):
            c.sendall(data)
threading.stack_size(65536)
s = socket.create_server(('127.0.0.1', PORT), backlog=2000)
print('up', flush=True)
while True:
    threading.Thread(target=serve, args=(s.accept()[0],), daemon=True).start()
"""
PING_PONG = """
import socket, statistics, sys, time
s = socket.create_connection(('127.0.0.1', int(sys.argv[1])))
s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
got = []
for i in range(int(sys.argv[2]) + 200):
    begin = time.perf_counter()
    s.sendall(bytes(64))
    left = 64
    while left:
        left -= len(s.recv(left))
    got.append(time.perf_counter() - begin)
print(statistics.median(got[200:]))
"""
CROWD = """
import resource, socket, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (8192, 8192))
held = []
for i in range(int(sys.argv[2])):
    s = socket.create_connection(('127.0.0.1', int(sys.argv[1])))
    s.sendall(b'x')
    held.append(s)
for s in held:
    assert s.recv(1) == b'x'
print('held', flush=True)
sys.stdin.read()
"""


# ---- the machine ----

def python(lab, code, *args, **kw):
    return lab.popen(1, [sys.executable, "-c", code, *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **kw)


def listens(lab, port):
    def check():
        p = subprocess.run(lab.enter(1) + ["ss", "-Hltn", f"sport = :{port}"], capture_output=True, text=True)
        return p.stdout.strip()
    wait_for(f"something listens on port {port}", check)


def throughput(lab, port):
    """MB/s of iperf3 through the port."""
    p = subprocess.run(lab.enter(1) + ["iperf3", "-c", "127.0.0.1", "-p", str(port), "-J", "-t", str(options.seconds)],
                       capture_output=True, text=True, timeout=options.seconds + 20)
    result = json.loads(p.stdout or "{}")
    if "error" in result or p.returncode:
        raise AssertionError(f"iperf3 on port {port}: {result.get('error', p.stderr)}")
    return result["end"]["sum_received"]["bits_per_second"] / 8e6


def round_trip(lab, port, count=3000):
    """µs, the median of `count`."""
    p = subprocess.run(lab.enter(1) + [sys.executable, "-c", PING_PONG, str(port), str(count)], capture_output=True, text=True, check=True)
    return float(p.stdout) * 1e6


# ---- routes: each gives the ports that lead to BULK and ECHO ----

def our_nodes(lab, mount=False):
    opts = () if mount else ("--no-mount",)
    a, b = (lab.node(i, options=opts, config=net.ANY_PORT) for i in (1, 2))
    b.run("connect", a.address())
    return a, b


def ours(lab, base):
    a, b = our_nodes(lab)
    for i, (name, port) in enumerate((("bulk", BULK), ("echo", ECHO))):
        a.run("offer", name, "tcp", port, "-a", b.id)
        b.run("forward", "tcp", base + i, f"{a.id}/{name}")


def ssh_on(index, cipher):
    """Two servers have two folders: Ssh names them by the namespace's number, which on loopback is only a name."""
    def route(lab, base):
        server = net.Ssh(lab, index, 1, "127.0.0.1", port=base + 9)
        lab.popen(1, ["ssh", *server.common, "-c", cipher, "-N", "-L", f"127.0.0.1:{base}:127.0.0.1:{BULK}",
                      "-L", f"127.0.0.1:{base + 1}:127.0.0.1:{ECHO}", "127.0.0.1"], stdin=subprocess.DEVNULL)
    return route


def socat(extra):
    def route(lab, base):
        pem = lab.dir / f"socat{base}.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=localhost",
                        "-keyout", f"{pem}.key", "-out", f"{pem}.crt"], check=True, capture_output=True)
        pem.write_text(pathlib.Path(f"{pem}.key").read_text() + pathlib.Path(f"{pem}.crt").read_text())
        size = "-b262144"
        for i, target in enumerate((BULK, ECHO)):
            lab.popen(1, ["socat", size, f"OPENSSL-LISTEN:{base + 5 + i},bind=127.0.0.1,reuseaddr,fork,nodelay,cert={pem},verify=0{extra}",
                          f"TCP:127.0.0.1:{target},nodelay"], stderr=subprocess.DEVNULL)
            lab.popen(1, ["socat", size, f"TCP-LISTEN:{base + i},bind=127.0.0.1,reuseaddr,fork,nodelay",
                          f"OPENSSL:127.0.0.1:{base + 5 + i},nodelay,verify=0{extra}"], stderr=subprocess.DEVNULL)
            listens(lab, base + 5 + i)
    return route


def kubo(program):
    def route(lab, base):
        more = (("Experimental.Libp2pStreamMounting", True),)
        one, two = (interop_kubo.Kubo(lab, i, program, listen=f"/ip4/127.0.0.1/tcp/{base + 4 + i}", more=(
            *more, ("Addresses.API", f"/ip4/127.0.0.1/tcp/{base + 6 + i}"), ("Addresses.Gateway", []))) for i in (1, 2))
        id_ = one("id", "-f", "<id>").strip()
        two("swarm", "connect", f"/ip4/127.0.0.1/tcp/{base + 5}/p2p/{id_}")
        for i, (name, port) in enumerate((("bulk", BULK), ("echo", ECHO))):
            one("p2p", "listen", f"/x/{name}", f"/ip4/127.0.0.1/tcp/{port}")
            two("p2p", "forward", f"/x/{name}", f"/ip4/127.0.0.1/tcp/{base + i}", f"/p2p/{id_}")
    return route


def dumbpipe(program):
    """It does not speak over loopback addresses: the namespace has one more, on an interface that leads nowhere."""
    def route(lab, base):
        lab._ip("-n", lab.name(1), "link", "add", "v0", "type", "veth", "peer", "name", "v1")
        lab._ip("-n", lab.name(1), "addr", "add", "10.79.0.1/24", "dev", "v0")
        for end in ("v0", "v1"):
            lab._ip("-n", lab.name(1), "link", "set", end, "up")
        lab._ip("-n", lab.name(1), "route", "add", "default", "dev", "v0")
        for i, port in enumerate((BULK, ECHO)):
            with open(lab.dir / f"dumbpipe{i}", "w") as log:
                lab.popen(1, [program, "listen-tcp", "--host", f"127.0.0.1:{port}"], stdout=log, stderr=log)
            words = lambda: [w for w in (lab.dir / f"dumbpipe{i}").read_text().split() if w.startswith("endpoint") and len(w) > 60]
            ticket = wait_for("dumbpipe has a ticket", words, 60)[0]
            lab.popen(1, [program, "connect-tcp", "--addr", f"127.0.0.1:{base + i}", ticket], stdout=subprocess.DEVNULL,
                      stderr=open(lab.dir / f"dumbpipe{i}c", "w"))
    return route


def routes():
    tools = {"ssh": net.have("sshd", "ssh") and net.have("ssh", "ssh"), "socat": net.have("socat", "socat") and net.have("openssl", "socat")}
    yield "p2pfs", ours
    if tools["ssh"]:
        yield "ssh aes128-gcm", ssh_on(11, "aes128-gcm@openssh.com")
        yield "ssh chacha20", ssh_on(12, "chacha20-poly1305@openssh.com")
    if tools["socat"]:
        yield "socat TLS aes256-gcm", socat("")
        yield "socat TLS chacha20", socat(",openssl-max-proto-version=TLS1.2,cipher=ECDHE-ECDSA-CHACHA20-POLY1305")
    program = net.kubo_program()
    if program:
        yield "Kubo", kubo(program)
    pipe = os.environ.get("DUMBPIPE_BIN") or net.have("dumbpipe", "dumbpipe")
    if pipe:
        yield "dumbpipe", dumbpipe(pipe)


def ready_routes(lab):
    """name → port, of those that carry a byte both ways."""
    ports = {"direct": BULK}
    for n, (name, route) in enumerate(routes()):
        base = 6000 + 20 * n
        try:
            route(lab, base)
            for i in (0, 1):
                listens(lab, base + i)
            round_trip(lab, base + 1, 10)
            ports[name] = base
        except (AssertionError, subprocess.CalledProcessError) as e:
            if name == "p2pfs":
                raise
            net.left_out[name] = f"does not work here: {str(e).splitlines()[0]}"
    return ports


# ---- the measures: each gives rows ----

def forward():
    with Loopback(1) as lab:
        hop = net.iperf_cost(lab, 1, 1, "127.0.0.1", ("-t", str(options.seconds)), 20 + options.seconds)
        lab.popen(1, ["iperf3", "-s", "-B", "127.0.0.1", "-p", str(BULK)], stdout=subprocess.DEVNULL)
        echo = python(lab, ECHO_SERVER.replace("PORT", str(ECHO)))
        echo.stdout.readline()
        listens(lab, BULK)
        ports = ready_routes(lab)
        rates = net.alternate(options.rounds, **{name: lambda i, port=port: throughput(lab, port) for name, port in ports.items()})
        trips = net.alternate(options.rounds, **{name: lambda i, port=port: round_trip(lab, port + 1) for name, port in ports.items()})
    cipher = net.cipher_speed("chacha20-poly1305")
    direct = trips.pop("direct")
    added = {name: t - direct for name, t in trips.items()}
    rivals = {name: v for name, v in rates.items() if name != "p2pfs"}
    best = max([v for name, v in rivals.items() if name in SEALED], default=None)
    mine = rates["p2pfs"]
    rest = {name: v for name, v in added.items() if name != "p2pfs"}
    return [net.Row("a TCP forward, iperf3, beside rivals with ChaCha20-Poly1305 or QUIC", mine, aim=best, others=rivals),
            net.Row("the same beside the cipher alone on one core, and all that two cores can", mine, aim=cipher and cipher / 2,
                    others={"ChaCha20-Poly1305": cipher, "two cores for three TCP hops, sealing and opening": net.two_cores(hop, cipher, hops=3)}),
            net.Row("added to a round trip of 64 bytes", added["p2pfs"], "µs", aim=100, less=True, others={**rest, "direct (all of it)": direct}),
            net.Row("the same, beside the least of the others", added["p2pfs"], "µs", aim=min(rest.values(), default=None), less=True)]


def read_socket(path):
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(str(path))
        while s.recv(MIB):
            pass


def trips_of(read, write, count=2000):
    got = []
    for _ in range(count):
        begin = time.perf_counter()
        write(bytes(64))
        left = 64
        while left:
            left -= len(read(left))
        got.append(time.perf_counter() - begin)
    return statistics.median(got) * 1e6


def file_trips(path):
    fd = os.open(path, os.O_RDWR)
    try:
        return trips_of(lambda n: os.read(fd, n), lambda b: os.write(fd, b))
    finally:
        os.close(fd)


def socket_trips(path):
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(str(path))
        return trips_of(s.recv, s.sendall)


def files(mib=512):
    with Loopback(2) as lab:
        a, b = our_nodes(lab, mount=True)
        source = lab.dir / "source"
        with open(source, "wb") as f:
            f.truncate(mib * MIB)
        a.run("offer", "file", "file", source, "-a", "any")
        a.run("offer", "echo", "echo", "-a", "any")
        where = b.mount / "peers" / a.id / "streams"
        wait_for("both are offered", lambda: {"file", "echo"} <= set(os.listdir(where)))
        took = net.alternate(options.rounds, file=lambda i: net.timed(net.dd, where / "file"), sock=lambda i: net.timed(read_socket, where / "file.sock"))
        trips = net.alternate(options.rounds, file=lambda i: file_trips(where / "echo"), sock=lambda i: socket_trips(where / "echo.sock"))
    speed = {name: net.rate(mib, t) for name, t in took.items()}
    return [net.Row("reading a stream as a file", speed["file"], others={"its .sock": speed["sock"]}),
            net.Row("a round trip of 64 bytes through the file", trips["file"], "µs", less=True, others={"its .sock": trips["sock"]})]


def private(pid):
    """KiB of the process itself."""
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(l for l in lines if l.startswith("RssAnon")).split()[1])


def idle():
    with Loopback(1) as lab:
        echo = python(lab, ECHO_SERVER.replace("PORT", str(ECHO)))
        echo.stdout.readline()
        a, b = our_nodes(lab)
        a.run("offer", "echo", "tcp", ECHO, "-a", b.id)
        b.run("forward", "tcp", 6001, f"{a.id}/echo")
        round_trip(lab, 6001, 100)
        before = [private(n.process.pid) for n in (a, b)]
        crowd = python(lab, CROWD, "6001", str(IDLE))
        if crowd.stdout.readline() != "held\n":
            raise AssertionError("not all of the streams work")
        time.sleep(2)  # idle is what is left when nothing has happened for a while
        after = [private(n.process.pid) for n in (a, b)]
    each = [(y - x) * 1024 / 1e6 for x, y in zip(before, after)]
    return [net.Row(f"memory of {IDLE} idle streams, both nodes", sum(each), "MB", aim=10, less=True, others={"offering": each[0], "forwarding": each[1]})]


MEASURES = {f.__name__: f for f in (forward, files, idle)}


def main():
    parser = argparse.ArgumentParser(description="measures streams")
    parser.add_argument("measures", nargs="*", metavar="MEASURE", help=", ".join(MEASURES))
    parser.add_argument("--seconds", type=int, default=Options.seconds, help=f"of each throughput ({Options.seconds})")
    parser.add_argument("--rounds", type=int, default=Options.rounds, help=f"of each pair ({Options.rounds})")
    parser.add_argument("--json", action="store_true", help="rows as JSON, one a line")
    parser.parse_args(namespace=options)
    net.options.warm = 0
    unknown = set(options.measures) - MEASURES.keys()
    if unknown:
        parser.error(f"no such measure: {', '.join(sorted(unknown))}")
    try:
        need("iperf3", "ss")
    except unittest.SkipTest as e:
        sys.exit(f"cannot run here: {e}")
    rows = []
    for name in options.measures or MEASURES:
        print(f"{name} …", file=sys.stderr, flush=True)
        rows += MEASURES[name]()
    if options.json:
        for r in rows:
            print(json.dumps({"measure": r.what, "value": r.ours, "unit": r.unit, "aim": r.aim, "met": r.met(), "others": r.others}))
    else:
        print(net.table(rows))
    for what, why in net.left_out.items():
        print(f"left out: {what} ({why})", file=sys.stderr)


if __name__ == "__main__":
    main()
