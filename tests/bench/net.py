#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Measures what goes from node to node, against the machine's limits and against others, in one run, and prints one table.

    sudo P2P_BIN=build/release/p2p tests/bench/net.py [--mib 1024] [--rounds 3] [MEASURE …]

Measures: loopback, wan, peers, latency, readers, small, small_wan; all of them when none is named. Every pair is measured alternately; the median is
printed, with the aim and whether it is met. Nodes run in network namespaces that cannot reach outside. Rivals that are not installed (packages.txt,
[bench]; Kubo is built by tests/interop/setup) are left out, with a line that says so. Not a test: nothing fails.

Memory that the guest has not touched for a while costs more than the copying itself on machines whose hypervisor takes free pages back: it
is touched before each round, for all alike (--warm, GiB; 0: not).
"""
import argparse, contextlib, hashlib, json, os, pathlib, random, re, shutil, signal, statistics, subprocess, sys, threading
import time, unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "lib"), str(HERE.parent / "interop")]
from lab import Lab, Loopback, need, wait_for, write_pattern
import interop_helia, interop_kubo

MIB = 1 << 20
QUIET = "mdns = off\n"
ANY_PORT = "mdns = off\nlisten = /ip4/127.0.0.1/tcp/0\n"


class Options:
    mib, wan_mib, rounds, warm, seconds = 1024, 1024, 3, 3, 120


options = Options()


# ---- measuring ----

def timed(work, *args):
    start = time.monotonic()
    work(*args)
    return time.monotonic() - start


def rate(mib, seconds):
    """MB/s"""
    return mib * 1.048576 / seconds


def warm():
    """Touches memory that the kernel then has free: see above."""
    if options.warm:
        code = (f"import mmap; m = mmap.mmap(-1, {options.warm} << 30, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS);"
                "m.madvise(mmap.MADV_NOHUGEPAGE); m.madvise(23)")  # 23: MADV_POPULATE_WRITE; in small pages, as files take them
        subprocess.run([sys.executable, "-c", code], check=True)


left_out = {}
now = dict(row="", end=float("inf"))  # what is measured, and when no other round may begin


def begin(row):
    now.update(row=row, end=time.monotonic() + options.seconds)


def rounds(count):
    """0 … count - 1; fewer, and a line for the reader, when the next would not end in the time that a row has."""
    longest = 0.0
    for i in range(count):
        start = time.monotonic()
        if i and start + longest > now["end"]:
            left_out[f"{now['row']}, rounds from the {i + 1}. of {count}"] = f"a row has {options.seconds} s"
            return
        yield i
        longest = max(longest, time.monotonic() - start)


def samples(works, count=None):
    """Every work(round) in turn; name → what they returned. A work that is None is left out."""
    got = {name: [] for name, work in works.items() if work}
    for i in rounds(count or options.rounds):
        for name in got:
            warm()
            got[name].append(works[name](i))
    return got


def alternate(count=None, **works):
    """The median of each"""
    return {name: statistics.median(values) for name, values in samples(works, count).items()}


def dd(path, *more):
    subprocess.run(["dd", f"if={path}", "of=/dev/null", "bs=1M", "status=none", *more], check=True)


class Row:
    """One line of the table: bigger is better unless `less`."""

    def __init__(self, what, ours, unit="MB/s", aim=None, less=False, others=None, limit=None):
        self.what, self.ours, self.unit, self.aim, self.less, self.limit = what, ours, unit, aim, less, limit
        self.others = others or {}

    @staticmethod
    def number(v):
        return f"{v:.2f}" if v < 10 else f"{v:.1f}" if v < 100 else f"{v:.0f}"

    def met(self):
        return self.aim is None or (self.ours <= self.aim if self.less else self.ours >= self.aim)

    def cells(self):
        aim = "" if self.aim is None else f"{'≤' if self.less else '≥'} {self.number(self.aim)}: {'met' if self.met() else 'missed'}"
        ratios = [f"{name} {self.number(v)} ({self.ours / v:.2f})" for name, v in self.others.items() if v]
        return [self.what, f"{self.number(self.ours)} {self.unit}", aim, ", ".join(ratios) or "—"]


def table(rows):
    lines = ["| measure | p2pfs | aim | in the same run (p2pfs ÷ it) |", "|---|---|---|---|"]
    return "\n".join(lines + ["| " + " | ".join(r.cells()) + " |" for r in rows])


# ---- rivals and limits ----

def have(tool, what):
    """The program's path; None, and a line for the reader, when it is not installed."""
    path = shutil.which(tool) or shutil.which(tool, path="/usr/sbin")
    if not path:
        left_out[what] = f"{tool} is not installed"
    return path


def kubo_program():
    try:
        return interop_kubo.kubo_program()
    except unittest.SkipTest as e:
        left_out["Kubo"] = str(e)
        return None


class Kubos:
    """Two Kubo nodes that know each other; fetch(round) is the seconds for one file of `mib` MiB."""

    def __init__(self, lab, mib, program, where):
        self.lab, self.mib, self.program = lab, mib, program
        (one, listen1), (two, listen2) = where
        self.one = interop_kubo.Kubo(lab, one, program, listen=listen1)
        self.two = interop_kubo.Kubo(lab, two, program, listen=listen2)
        self.two("swarm", "connect", f"{listen1}/p2p/" + self.one("id", "-f", "<id>").strip())

    def get(self, cid, *args, stdout=subprocess.DEVNULL):
        subprocess.run(self.lab.enter(self.two.index) + [str(self.program), *args, cid], env=self.two.env, stdout=stdout,
                       stderr=subprocess.DEVNULL, check=True)

    def fetch(self, i):
        source = self.lab.dir / "kubo-source"
        write_pattern(source, self.mib * MIB, 200 + i)
        cid = self.one("add", "-Q", "--pin=false", source, timeout=600).strip()
        source.unlink()
        return timed(self.get, cid, "cat")

    def stop(self):
        for k in (self.one, self.two):
            k.daemon.terminate()
            k.daemon.wait()


SLOW_MIB = 256  # for rivals that need seconds for it
KUBO_WAN_MIB = 128  # over the long path
HELIA_MIB = 16  # its node gives up a block that takes long


def helia_once(lab):
    """MB/s of one file from Helia to Helia, or None."""
    try:
        folder = interop_helia.helia_folder()
    except unittest.SkipTest as e:
        left_out["Helia"] = str(e)
        return None
    one, two = (interop_helia.Helia(lab, i, folder) for i in (1, 2))
    source = lab.dir / "helia-source"
    write_pattern(source, HELIA_MIB * MIB, 300)
    try:
        cid = one("add", path=str(source))["cid"]
        two("dial", address=one.address)
        return rate(HELIA_MIB, timed(lambda: two("cat", cid=cid, out="/dev/null")))
    except AssertionError as e:
        left_out["Helia"] = str(e).splitlines()[0]
        return None
    finally:
        for node in (one, two):
            node.process.kill()
            node.process.wait()


class Ssh:
    """An sshd of our own in namespace `index`, with keys and configuration of its own, and what copies from it into namespace `client`."""

    def __init__(self, lab, index, client, ip, port=2222):
        self.lab, self.client, self.ip = lab, client, ip
        self.dir = lab.dir / f"ssh{index}"
        self.dir.mkdir(mode=0o700)
        for name in ("host", "user"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.dir / name], check=True)
        shutil.copyfile(self.dir / "user.pub", self.dir / "authorized")
        os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
        (self.dir / "sshd_config").write_text(
            f"Port {port}\nListenAddress {ip}\nHostKey {self.dir}/host\nPidFile none\nUsePAM no\nStrictModes no\nPermitRootLogin yes\n"
            f"PasswordAuthentication no\nAuthorizedKeysFile {self.dir}/authorized\nSubsystem sftp internal-sftp\n")
        self.common = ["-o", f"Port={port}", "-o", f"IdentityFile={self.dir}/user", "-o", "IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=no",
                       "-o", f"UserKnownHostsFile={self.dir}/known", "-o", "LogLevel=ERROR", "-F", "none"]
        lab.popen(index, [have("sshd", "ssh"), "-D", "-e", "-f", self.dir / "sshd_config"], stderr=subprocess.DEVNULL)
        wait_for("sshd answers", lambda: self.run("true", check=False).returncode == 0)

    def run(self, command, *more, check=True):
        return subprocess.run(self.lab.enter(self.client) + ["ssh", *self.common, *more, self.ip, command], stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, check=check)

    def cat(self, path, cipher):
        return timed(self.run, f"cat {path}", "-c", cipher)

    def rsync(self, path, target):
        shell = " ".join(["ssh", *self.common])
        return timed(lambda: subprocess.run(self.lab.enter(self.client) + ["rsync", "-a", "-e", shell, f"{self.ip}:{path}", str(target)], check=True))

    def scp(self, path, target):
        return timed(lambda: subprocess.run(self.lab.enter(self.client) + ["scp", "-q", "-r", *self.common, f"{self.ip}:{path}", str(target)],
                                            check=True))


class Torrent:
    """aria2 seeds one file, and fetches it once for each round. The tracker is a server that names the seeder, whatever it is asked."""

    TRACKER = ("import http.server, sys\n"
               "class H(http.server.BaseHTTPRequestHandler):\n"
               "    def do_GET(self):\n"
               "        self.send_response(200)\n"
               "        self.end_headers()\n"
               "        self.wfile.write(b'd8:intervali60e5:peers6:' + bytes([127, 0, 0, 1, 27, 79]) + b'e')\n"  # port 6991
               "    def log_message(self, *a): pass\n"
               "http.server.HTTPServer(('127.0.0.1', 6990), H).serve_forever()\n")
    COMMON = ["aria2c", "--quiet", "--enable-dht=false", "--enable-dht6=false", "--bt-enable-lpd=false", "--file-allocation=none", "--no-conf"]

    def __init__(self, lab, index, client, path):
        self.lab, self.client, self.path = lab, client, path
        self.file = lab.dir / "file.torrent"
        data = {"announce": "http://127.0.0.1:6990/", "info": {"length": path.stat().st_size, "name": path.name, "piece length": MIB,
                                                               "pieces": self.pieces()}}
        self.file.write_bytes(self.bencode(data))
        lab.popen(index, [sys.executable, "-c", self.TRACKER])
        lab.popen(index, self.COMMON + ["--listen-port=6991", "--seed-ratio=0", "--bt-seed-unverified=true", f"--dir={path.parent}", self.file],
                  stdout=subprocess.DEVNULL)
        wait_for("aria2 seeds", lambda: subprocess.run(lab.enter(index) + [sys.executable, "-c", "import socket\n"
                 "for p in (6990, 6991): socket.create_connection(('127.0.0.1', p))"], stderr=subprocess.DEVNULL).returncode == 0)

    def pieces(self):
        with open(self.path, "rb") as f:
            return b"".join(hashlib.sha1(piece).digest() for piece in iter(lambda: f.read(MIB), b""))

    @classmethod
    def bencode(cls, v):
        if isinstance(v, int):
            return b"i%de" % v
        if isinstance(v, dict):
            return b"d" + b"".join(cls.bencode(k) + cls.bencode(x) for k, x in sorted(v.items())) + b"e"
        v = v.encode() if isinstance(v, str) else v
        return b"%d:%s" % (len(v), v)

    def fetch(self, i):
        where = self.lab.dir / "torrent-got"
        took = timed(lambda: subprocess.run(self.lab.enter(self.client) + self.COMMON + ["--listen-port=6992", "--seed-time=0", f"--dir={where}",
                                                                                          str(self.file)], check=True, stdout=subprocess.DEVNULL))
        shutil.rmtree(where)
        return took


class Sendme:
    """sendme (iroh: QUIC, BLAKE3) offers one file, without relays, and fetches it into a folder once for each round."""

    COMMON = ["--relay", "disabled", "--no-progress"]

    def __init__(self, lab, index, client, path):
        self.lab, self.client = lab, client
        folder = lab.dir / "sendme"
        folder.mkdir()
        said = folder / "said"
        with open(said, "w") as out:
            lab.popen(index, ["sendme", "send", *self.COMMON, "--ticket-type", "addresses", path], cwd=folder, stdout=out, stderr=subprocess.DEVNULL)
        ticket = lambda: re.search(r"sendme receive (\S+)", said.read_text())
        wait_for("sendme offers", ticket, timeout=60)
        self.ticket = ticket().group(1)

    def fetch(self, i):
        where = self.lab.dir / f"sendme-got{i}"
        where.mkdir()
        took = timed(lambda: subprocess.run(self.lab.enter(self.client) + ["sendme", "receive", *self.COMMON, self.ticket], cwd=where, check=True,
                                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        shutil.rmtree(where)
        return took


def ssh_of(lab, index, client, ip):
    return Ssh(lab, index, client, ip) if have("sshd", "ssh") and have("ssh", "ssh") else None


def both_ways(folder, mib=512):
    """MB/s that the disk reads and writes at the same time, past the page cache: two nodes on one disk do that. The slower of both."""
    read, write = folder / "disk-read", folder / "disk-write"
    direct = dict(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if subprocess.run(["dd", "if=/dev/zero", f"of={read}", "bs=1M", f"count={mib}", "oflag=direct"], **direct).returncode != 0:
        return None
    seconds = []
    works = [["dd", f"if={read}", "of=/dev/null", "bs=1M", "iflag=direct"],
             ["dd", "if=/dev/zero", f"of={write}", "bs=4M", f"count={mib // 4}", "oflag=direct", "conv=fsync"]]
    threads = [threading.Thread(target=lambda w=w: seconds.append(timed(lambda: subprocess.run(w, check=True, **direct)))) for w in works]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    read.unlink(), write.unlink()
    return rate(mib, max(seconds))


def two_cores(tcp, aead, sha=None, hops=1):
    """MB/s of two cores that do nothing but seal and open each byte, send and receive it `hops` times, and hash it if `sha` is given; without
    disk, mount and our own code."""
    return 2 / (hops * tcp[1] + 2 / aead + (1 / sha if sha else 0)) if tcp and aead else None


def sent(lab, indexes):
    """Bytes that have left these namespaces, with the headers of each packet"""
    total = 0
    for index in indexes:
        links = json.loads(subprocess.run(["ip", "-j", "-s", "-n", lab.name(index), "link"], capture_output=True, check=True).stdout)
        total += sum(l["stats64"]["tx"]["bytes"] for l in links if l["ifname"] != "lo")
    return total


def iperf(lab, index, client, ip, mib):
    """MB/s of a plain TCP connection that carries so much, its start with it; or None."""
    found = iperf_cost(lab, index, client, ip, ["-n", str(mib * MIB)], 20 + mib / 4)
    return found and found[0]


SENDER = ("import os, socket, sys\n"
          "with socket.create_server((sys.argv[1], 5202)) as server, open('/dev/zero', 'rb') as zero:\n"
          "    while True:\n"
          "        with server.accept()[0] as c:\n"
          "            left, piece = int(c.recv(16)), zero.read(1 << 16)\n"
          "            while left > 0:\n"
          "                left -= c.send(piece[:left])\n")


class PlainTcp:
    """What the same peers bring when each has one connection without a protocol: the bound of the paths themselves."""

    def __init__(self, lab, indexes, client, mib):
        self.part = mib * MIB // len(indexes)
        self.enter, self.addresses = lab.enter(client), [lab.ip(i) for i in indexes]
        for i in indexes:
            lab.popen(i, [sys.executable, "-c", SENDER, lab.ip(i)])
        wait_for("senders answer", lambda: self.ask("1").returncode == 0)

    def ask(self, size):
        """As in a swarm the last of the bytes ends it: whoever is done waits."""
        code = ("import selectors, socket, sys, time\n"
                "start, all = time.monotonic(), selectors.DefaultSelector()\n"
                "for ip in sys.argv[2:]:\n"
                "    s = socket.create_connection((ip, 5202))\n"
                "    s.sendall(sys.argv[1].encode())\n"
                "    all.register(s, selectors.EVENT_READ)\n"
                "while all.get_map():\n"
                "    for key, _ in all.select():\n"
                "        if not key.fileobj.recv(1 << 18):\n"
                "            all.unregister(key.fileobj)\n"
                "print(time.monotonic() - start)\n")
        return subprocess.run(self.enter + [sys.executable, "-c", code, size, *self.addresses], capture_output=True, text=True)

    def fetch(self, i):
        return float(self.ask(str(self.part)).stdout)


def iperf_cost(lab, index, client, ip, how=("-t", "3"), most=20):
    """The same, and seconds of processor for each MB, both ends."""
    program = have("iperf3", "iperf3")
    if not program:
        return None
    server = lab.popen(index, [program, "-s", "-B", ip], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    out = {}

    def ask():  # it has been seen to stop in the middle, when several begin at once
        with contextlib.suppress(subprocess.TimeoutExpired):
            p = subprocess.run(lab.enter(client) + [program, "-c", ip, "-R", "-J", *how], capture_output=True, text=True, timeout=most)
            out.update(json.loads(p.stdout or "{}"))
            return p.returncode == 0
    wait_for("iperf3 answers", ask)
    server.kill()
    server.wait()
    mb, cpu = out["end"]["sum_received"]["bits_per_second"] / 8e6, out["end"]["cpu_utilization_percent"]
    return mb, (cpu["host_total"] + cpu["remote_total"]) / 100 / mb


def cipher_speed(name):
    """MB/s of one core in OpenSSL, or None."""
    if not have("openssl", "OpenSSL's own speed"):
        return None
    p = subprocess.run(["openssl", "speed", "-evp", name, "-bytes", "65536", "-seconds", "1", "-mr"], capture_output=True, text=True)
    lines = [l for l in p.stdout.splitlines() if l.startswith("+F:")]
    return float(lines[-1].split(":")[-1]) / 1e6 if lines else None


# ---- our nodes ----

def share(node, size_mib, seed, name):
    """A new file in share/ of the node, as a user would put it there. Its CID."""
    source = node.lab.dir / f"source{node.index}"
    write_pattern(source, size_mib * MIB, seed)
    shutil.copyfile(source, node.mount / "share" / name)
    source.unlink()
    return node.cid(node.mount / "share" / name)


def connect(b, *addresses):
    for address in addresses:
        b.run("connect", address)


def read_through(b, cid):
    return timed(dd, b.mount / "ipfs" / cid)


# ---- the measures: each gives rows ----

def loopback():
    """cp on one node, cat on the other, both on the loopback interface; beside it what moves bytes encrypted, and the limits."""
    rows, mib = [], options.mib
    with Loopback(4) as lab:
        a, b = lab.node(1, config=ANY_PORT), lab.node(2, config=ANY_PORT)
        connect(b, a.address())
        plain = lab.dir / "plain"
        write_pattern(plain, mib * MIB, 1)
        less = lab.dir / "less"
        write_pattern(less, SLOW_MIB * MIB, 2)
        ssh, program = ssh_of(lab, 1, 2, "127.0.0.1"), kubo_program()
        kubo = Kubos(lab, SLOW_MIB, program, ((3, "/ip4/127.0.0.1/tcp/4001"), (4, "/ip4/127.0.0.1/tcp/4002"))) if program else None
        torrent = Torrent(lab, 1, 2, less) if have("aria2c", "aria2") else None
        sendme = Sendme(lab, 1, 2, plain) if have("sendme", "sendme") else None

        def ours(i):
            cid = share(a, mib, 100 + i, f"file{i}")
            warm()
            return read_through(b, cid)
        took = alternate(ours=ours, gcm=(lambda i: ssh.cat(plain, "aes128-gcm@openssh.com")) if ssh else None,
                         chacha=(lambda i: ssh.cat(plain, "chacha20-poly1305@openssh.com")) if ssh else None, kubo=kubo and kubo.fetch,
                         aria2=torrent and torrent.fetch, sendme=sendme and sendme.fetch, disk=lambda i: mib / (both_ways(lab.dir) or 1e9))
        speed = {name: rate(SLOW_MIB if name in ("kubo", "aria2") else mib, t) for name, t in took.items()}
        speed["disk"] = mib / took["disk"]
        names = {"chacha": "ssh chacha20-poly1305", "gcm": "ssh aes128-gcm", "kubo": f"Kubo, {SLOW_MIB} MiB",
                 "aria2": f"aria2, {SLOW_MIB} MiB (BitTorrent, not encrypted)", "sendme": "sendme (iroh), into a file",
                 "disk": "the disk, reading and writing at once"}
        tcp, aead, sha = iperf_cost(lab, 1, 2, "127.0.0.1"), cipher_speed("chacha20-poly1305"), cipher_speed("sha256")
        limits = {"iperf3": tcp and tcp[0], "one core's SHA-256": sha, "one core's ChaCha20-Poly1305": aead,
                  "two cores for cipher, hash and TCP": two_cores(tcp, aead, sha)}
        others = {names[n]: v for n, v in speed.items() if n in names}
        others[f"Helia, {HELIA_MIB} MiB, once"] = helia_once(lab)
        rows.append(Row(f"{mib} MiB node → node, loopback", speed["ours"], aim=500, others={**others, **limits}))
        if kubo:
            kubo.stop()
    return rows


def wan(delay_ms=25, bytes_per_s=25e6):
    """A path of 50 ms round trip and 200 Mbit/s."""
    mib = options.wan_mib
    with Lab(2, bridge=False) as lab:
        path = lab.path(1, 2, delay=delay_ms, rate=bytes_per_s, queue=bytes_per_s / 20)
        a, b = lab.node(1, config=QUIET), lab.node(2, config=QUIET)
        connect(b, a.address(path.a_ip))
        program = kubo_program()
        kubo = Kubos(lab, KUBO_WAN_MIB, program, ((1, f"/ip4/{path.a_ip}/tcp/4101"), (2, f"/ip4/{path.b_ip}/tcp/4101"))) if program else None
        wire = []

        def ours(i):
            cid, before = share(a, mib, 100 + i, f"file{i}"), sent(lab, [1])
            took = read_through(b, cid)
            wire.append((sent(lab, [1]) - before) / (mib * MIB))
            return took
        took = alternate(ours=ours, kubo=kubo and kubo.fetch, iperf=have("iperf3", "iperf3") and (lambda i: rate(mib, iperf(lab, 1, 2, path.a_ip, mib))))
        others = {"the path, headers too": bytes_per_s / 1e6, "iperf3, the same bytes": took.get("iperf") and rate(mib, took["iperf"])}
        if kubo:
            others[f"Kubo, {KUBO_WAN_MIB} MiB"] = rate(KUBO_WAN_MIB, took["kubo"])
            kubo.stop()
        return [Row(f"{mib} MiB over {2 * delay_ms} ms and {bytes_per_s * 8e-6:.0f} Mbit/s; on the wire {statistics.median(wire):.3f} bytes for each",
                    rate(mib, took["ours"]), aim=0.9 * bytes_per_s / 1e6, others=others)]


def swarm(lab, what, limit, config, shape=lambda lab, index: None):
    """A file from four nodes that hold it, each limited to `limit` MB/s."""
    mib, count = options.wan_mib, 4
    holders = [lab.node(i, config=config) for i in range(1, count + 1)]
    b = lab.node(count + 1, config=ANY_PORT if isinstance(lab, Loopback) else QUIET)
    connect(b, *(n.address() for n in holders))
    for n in holders:
        shape(lab, n.index)

    indexes, wire = [n.index for n in holders], []

    def fetch(i):
        cid, before = [share(n, mib, 100 + i, f"file{i}") for n in holders][0], sent(lab, indexes)
        took = read_through(b, cid)
        wire.append((sent(lab, indexes) - before) / (mib * MIB))
        return took
    tcp = None if isinstance(lab, Loopback) else PlainTcp(lab, indexes, b.index, mib).fetch
    took = alternate(ours=fetch, tcp=tcp)
    others = {"the sum": count * limit, "plain TCP from all": tcp and rate(mib, took["tcp"])}
    if max(wire):
        what += f"; on the wire {statistics.median(wire):.3f} bytes for each"
    return Row(f"{mib} MiB from {count} peers at once, {what}", rate(mib, took["ours"]), aim=0.9 * count * limit, others=others)


def peers():
    def tbf(lab, index):
        subprocess.run(lab.enter(index) + ["tc", "qdisc", "add", "dev", "eth0", "root", "tbf", "rate", "160mbit", "burst", "64kb", "latency", "50ms"],
                       check=True)
    rows = []
    with Loopback(5) as lab:
        rows.append(swarm(lab, "each with upload-limit 20 MB/s", 20, ANY_PORT + "upload-limit = 20MB\n"))
    if have("tc", "tbf"):
        with Lab(5) as lab:
            rows.append(swarm(lab, "each behind tbf of 160 Mbit/s", 20, QUIET, tbf))
    return rows


def first_byte(path, offset):
    """Milliseconds from open to the byte at `offset`."""
    def work():
        fd = os.open(path, os.O_RDONLY)
        os.pread(fd, 1, offset)
        os.close(fd)
    return 1000 * timed(work)


def latency(samples=20):
    """The first byte of a file that is not held, and bytes in its middle."""
    with Loopback(2) as lab:
        a, b = lab.node(1, config=ANY_PORT), lab.node(2, config=ANY_PORT)
        connect(b, a.address())
        share(a, options.mib, 1, "file")
        first, seek = [], []
        for i in range(samples):
            copy = a.mount / "share" / f"copy{i}"
            subprocess.run(["cp", "--reflink=auto", a.mount / "share/file", copy], check=True)
            with open(copy, "r+b") as f:  # another file: its first MiB, the nodes above it and its CID are its own
                f.write(os.urandom(MIB))
            cid = a.cid(copy)
            time.sleep(0.2)  # the reading ahead of the sample before has its end
            first.append(first_byte(b.mount / "ipfs" / cid, 0))
        fd = os.open(b.mount / "ipfs" / cid, os.O_RDONLY)
        places = random.Random(1).sample(range(options.mib // 8, options.mib), samples)
        for mib in places:
            seek.append(1000 * timed(os.pread, fd, 1, mib * MIB + 12345))
        os.close(fd)
    rows = []
    for what, got in ((f"first byte of {options.mib} MiB that are not held", first), ("a seek in them", seek)):
        rows.append(Row(what, statistics.median(got), "ms", aim=20, less=True, others={"worst": max(got)}))
    return rows


def beside(work, other):
    """Seconds of `work` while `other(stop)` runs."""
    stop = threading.Event()
    t = threading.Thread(target=other, args=(stop,))
    t.start()
    try:
        return timed(work)
    finally:
        stop.set()
        t.join()


def readers():
    """What others cost who read at the same time: a second node, a second program on the node, one that reads slowly."""
    mib = options.wan_mib // 2
    with Loopback(3) as lab:
        a, b, c = (lab.node(i, config=ANY_PORT) for i in (1, 2, 3))
        connect(b, a.address())
        connect(c, a.address())

        def new(i, name):
            return share(a, mib, hash(name) % 1000 * 10 + i, f"{name}{i}")

        def two_nodes(i):
            cid = new(i, "nodes")
            threads = [threading.Thread(target=read_through, args=(n, cid)) for n in (b, c)]
            start = time.monotonic()
            for t in threads:
                t.start()
            for t in threads:
                t.join()
            return (time.monotonic() - start) / 2

        def same_file(i):
            cid = new(i, "same")
            return beside(lambda: read_through(b, cid), lambda stop: read_through(b, cid))

        def slow_reader(i):
            cid, slow = new(i, "fast"), new(i, "slow")

            def crawl(stop):
                with open(b.mount / "ipfs" / slow, "rb", buffering=0) as f:
                    while not stop.wait(0.1) and f.read(100000):
                        pass
            return beside(lambda: read_through(b, cid), crawl)

        took = alternate(alone=lambda i: read_through(b, new(i, "alone")), nodes=two_nodes, same=same_file, slow=slow_reader)
        speed = {name: rate(mib, t) for name, t in took.items()}
        alone = {"alone": speed["alone"]}
        return [Row(f"{mib} MiB, one reader", speed["alone"]), Row("two nodes read it at once, together", speed["nodes"], others=alone),
                Row("two programs of one node read it", speed["same"], others=alone), Row("beside one that reads 1 MB/s", speed["slow"], others=alone)]


def make_tree(top, count=2000, size=4096):
    rng = random.Random(str(top))
    for i in range(count):
        folder = top / f"d{i // 100}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"f{i}").write_bytes(rng.randbytes(size))


def small():
    """cp -r of a tree of 2,000 files of 4 KiB that another node has."""
    with Loopback(4) as lab:
        a, b = lab.node(1, config=ANY_PORT), lab.node(2, config=ANY_PORT)
        connect(b, a.address())
        ssh, program = ssh_of(lab, 1, 2, "127.0.0.1"), kubo_program()
        kubo = Kubos(lab, 0, program, ((3, "/ip4/127.0.0.1/tcp/4001"), (4, "/ip4/127.0.0.1/tcp/4002"))) if program else None

        def tree(i, who):
            top = lab.dir / f"{who}{i}"
            make_tree(top)
            return top

        def ours(i):
            top = tree(i, "ours")
            subprocess.run(["cp", "-r", top, a.mount / "share"], check=True)
            cid = a.cid(a.mount / "share" / top.name)
            took = timed(lambda: subprocess.run(["cp", "-r", b.mount / "ipfs" / cid, lab.dir / f"got{i}"], check=True))
            subprocess.run(["diff", "-r", top, lab.dir / f"got{i}"], check=True)
            return took

        def theirs(i):
            cid = kubo.one("add", "-Q", "-r", "--pin=false", tree(i, "kubo"), timeout=600).split()[-1]
            return timed(kubo.get, cid, "get", "-o", lab.dir / f"kubogot{i}")
        took = alternate(ours=ours, scp=(lambda i: ssh.scp(tree(i, "scp"), lab.dir / f"scpgot{i}")) if ssh else None, kubo=kubo and theirs)
        if kubo:
            kubo.stop()
        names = {"scp": "scp -r", "kubo": "Kubo's get"}
        return [Row("cp -r of a remote tree of 2,000 files of 4 KiB", took["ours"], "s", less=True,
                    others={names[n]: t for n, t in took.items() if n in names})]


def small_wan(delay_ms=25, bytes_per_s=25e6, count=1000):
    """cp -r of small files over a long path, beside rsync over ssh."""
    with Lab(2, bridge=False) as lab:
        path = lab.path(1, 2, delay=delay_ms, rate=bytes_per_s, queue=bytes_per_s / 20)
        a, b = lab.node(1, config=QUIET), lab.node(2, config=QUIET)
        connect(b, a.address(path.a_ip))
        ssh = ssh_of(lab, 1, 2, path.a_ip) if have("rsync", "rsync") else None

        def tree(i, who):
            top = lab.dir / f"{who}{i}"
            make_tree(top, count)
            return top

        def ours(i):
            top = tree(i, "ours")
            subprocess.run(["cp", "-r", top, a.mount / "share"], check=True)
            remote, got = b.mount / "ipfs" / a.cid(a.mount / "share" / top.name), lab.dir / f"got{i}"
            took = timed(lambda: subprocess.run(["cp", "-r", remote, got], check=True))
            subprocess.run(["diff", "-r", top, got], check=True)
            return took

        def rsync(i):
            return ssh.rsync(tree(i, "rsync"), lab.dir / f"rsyncgot{i}")
        took = alternate(ours=ours, rsync=rsync if ssh else None)
        return [Row(f"cp -r of a remote tree of {count} files of 4 KiB over {2 * delay_ms} ms", took["ours"], "s", less=True,
                    others={"rsync -a over ssh": took.get("rsync")})]


MEASURES = {f.__name__: f for f in (loopback, wan, peers, latency, readers, small, small_wan)}


def main():
    parser = argparse.ArgumentParser(description="measures what goes from node to node")
    parser.add_argument("measures", nargs="*", metavar="MEASURE", help=", ".join(MEASURES))
    for name, what in (("mib", "size of the file on loopback"), ("wan-mib", "size of the file on slow paths"), ("rounds", "of each pair"),
                       ("warm", "GiB of memory to touch before a round"), ("seconds", "after which a measure begins no other round")):
        key = name.replace("-", "_")
        parser.add_argument(f"--{name}", type=int, default=getattr(Options, key), help=f"{what} ({getattr(Options, key)})")
    parser.parse_args(namespace=options)
    unknown = set(options.measures) - MEASURES.keys()
    if unknown:
        parser.error(f"no such measure: {', '.join(sorted(unknown))}")
    try:
        need()
    except unittest.SkipTest as e:
        sys.exit(f"cannot run here: {e}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))  # what was started is stopped
    rows = []
    for name in options.measures or MEASURES:
        print(f"{name} …", file=sys.stderr, flush=True)
        begin(name)
        try:
            rows += MEASURES[name]()
        except unittest.SkipTest as e:
            left_out[name] = str(e)
    print(table(rows))
    for what, why in left_out.items():
        print(f"left out: {what} ({why})")


if __name__ == "__main__":
    main()
