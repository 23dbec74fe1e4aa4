#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Offers and forwards outlive kill -9 of either node, peers come back, and limits change while streams are open."""
import os, pathlib, socket, subprocess, sys, time, unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from lab import P2P, wait_for
from services import Services

UDP_ECHO = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1], flush=True)
while True: s.sendto(*s.recvfrom(65536))
"""
TCP_ECHO = """
import socket, threading
def echo(c):
    while piece := c.recv(65536): c.sendall(piece)
    c.close()
s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1], flush=True)
while True: threading.Thread(target=echo, args=(s.accept()[0],), daemon=True).start()
"""
ASK = """
import socket, sys
kind, where = sys.argv[1:]
if kind == "unix": s = socket.socket(socket.AF_UNIX)
else: s = socket.socket(type=socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM); where = ("127.0.0.1", int(where))
s.settimeout(10)
try:
    s.connect(where)
    s.send(b"hello")
    sys.exit(0 if s.recv(100) == b"hello" else 1)
except OSError: sys.exit(1)
"""


class Again(Services):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        one = cls()
        one.offer("tcp", "tcp", one.server(TCP_ECHO))
        one.offer("udp", "udp", one.server(UDP_ECHO))
        one.offer("echo", "echo")
        cls.a.run("offer", "tcp", "-n", "7", "--rate", "900k")
        cls.where = {"tcp": one.forward("tcp", "tcp"), "udp": one.forward("udp", "udp"), "unix": str(cls.lab.dir / "echo.sock")}
        cls.b.run("forward", "unix", cls.where["unix"], "alice/echo")

    def works(self, kind):
        return not subprocess.run(self.lab.enter(2) + [sys.executable, "-c", ASK, kind, self.where[kind]]).returncode

    def all_work(self):
        for kind in self.where:
            wait_for(f"{kind} works", lambda: self.works(kind))

    def said(self):
        """What is to stay, as it is listed."""
        offers = [{k: r[k] for k in ("name", "target", "allowed", "connections_max", "rate_max")} for r in self.a.json_lines("offer")]
        forwards = [{k: r[k] for k in ("from", "peer", "service", "listening")} for r in self.b.json_lines("forward")]
        return offers, forwards, sorted(os.listdir(self.a.mount / "streams/offer"))

    def test_killed_again_and_again(self):
        self.all_work()
        before = self.said()
        for nodes in ((self.a,), (self.b,), (self.a, self.b), (self.b,)):
            for n in nodes:
                n.kill()
            for n in nodes:
                n.start()
            self.assertEqual(self.said(), before)
            self.all_work()  # who forwards finds its peer by itself

    def test_killed_right_after_a_change(self):
        """What was answered is kept."""
        for i in range(5):
            self.a.run("offer", f"new{i}", "echo", "-a", "any")
            self.a.kill()
            self.a.start()
            self.assertIn(f"new{i}", [r["name"] for r in self.a.json_lines("offer") if r["allowed"] == ["any"]])
            self.a.run("offer", f"new{i}", "-r")
            self.a.kill()
            self.a.start()
            self.assertNotIn(f"new{i}", [r["name"] for r in self.a.json_lines("offer")])

    def test_bytes_are_counted_everywhere(self):
        """The same of a stream by a forward: at the forward, at the offer, at each peer, at each address, in text and in files."""
        self.all_work()
        of = lambda rows, key, value: next(r for r in rows if value in r[key])
        def counts():
            return [of(self.b.json_lines("forward"), "from", "unix"), of(self.a.json_lines("offer"), "name", "echo"),
                    of(self.a.json_lines("streams", "-a"), "address", "10.77.0.2"), of(self.b.json_lines("streams", "-a"), "address", "10.77.0.1")]
        ledger = lambda node, peer: dict(l.split("\t") for l in (node.mount / "peers" / peer.id / "ledger").read_text().splitlines())
        wait_for("no stream of it is open", lambda: not self.b.json_lines("streams") or all(r["service"] == "udp" for r in self.b.json_lines("streams")))
        before, ledgers = counts(), (ledger(self.a, self.b), ledger(self.b, self.a))
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(self.where["unix"])
            s.sendall(bytes(100_000))
            left = 100_000
            while left:
                left -= len(s.recv(65536))
            wait_for("the stream is listed with its bytes", lambda: any((r["bytes_in"], r["bytes_out"]) == (100_000,) * 2 and r["service"] == "echo"
                                                                        for r in self.b.json_lines("streams")))
            number = next(r["stream"] for r in self.b.json_lines("streams") if r["service"] == "echo")
            status = lambda: dict(l.split("\t", 1) for l in (self.b.mount / "streams" / str(number) / "status").read_text().splitlines())
            wait_for("its file shows them", lambda: status().get("bytes_out") == "100000" == status().get("bytes_in"))
            self.assertIn("echo", "".join((p / "status").read_text() for p in (self.b.mount / "streams").iterdir() if p.name.isdigit()))
        wait_for("it is over", lambda: not [r for r in self.b.json_lines("streams") if r["service"] == "echo"])
        for was, now in zip(before, counts()):
            self.assertEqual([now[k] - was[k] for k in ("total", "bytes_in", "bytes_out", "refused")], [1, 100_000, 100_000, 0], now)
        files = lambda: [{k: int(v[f"service_{k}"]) for k in ("streams", "bytes_in", "bytes_out")} for v in (ledger(self.a, self.b), ledger(self.b, self.a))]
        want = [{"streams": int(w["service_streams"]) + 1, "bytes_in": int(w["service_bytes_in"]) + 100_000,
                 "bytes_out": int(w["service_bytes_out"]) + 100_000} for w in ledgers]
        wait_for("the ledgers show it", lambda: files() == want)
        column = lambda text, name: text[0].split("\t").index(name)
        table = lambda: (self.b.mount / "streams/forward/status").read_text().splitlines()
        row = of(self.b.json_lines("forward"), "from", "unix")
        wait_for("the table shows it", lambda: [l.split("\t")[column(table(), "in")] for l in table() if "echo.sock" in l] == [str(row["bytes_in"])])

    # ---- limits that change while streams are open ----

    def flow(self, service):
        """A stream that takes what comes: a function that tells how many bytes in a second."""
        moving = lambda: [r["bytes_in"] for r in self.b.json_lines("streams") if r["service"] == service and r["bytes_in"]]
        others = len(moving())
        p = self.lab.popen(2, ["sh", "-c", f"exec {P2P} dial alice/{service} >/dev/null"], env=self.b.env, stdin=subprocess.PIPE)
        self.addCleanup(p.communicate)
        self.addCleanup(p.kill)
        bytes_now = lambda: sum(moving())
        wait_for("bytes come, of this one too", lambda: len(moving()) > others)

        def second():
            before, start = bytes_now(), time.monotonic()
            time.sleep(1)
            return (bytes_now() - before) / (time.monotonic() - start)

        return p, second

    def test_a_rate_that_changes(self):
        self.a.run("offer", "zeros", "file", "/dev/zero", "-a", "any")
        ctl = self.a.mount / "streams/offer/zeros/ctl"
        p, second = self.flow("zeros")
        self.assertGreater(second(), 4e6)
        ctl.write_text("limit rate 500000\n")
        wait_for("it is slow", lambda: second() < 700_000)
        self.assertTrue(300_000 < second() < 700_000)
        ctl.write_text("limit rate 0\n")
        wait_for("it is fast again", lambda: second() > 4e6)
        self.assertIsNone(p.poll(), "one stream all the time")
        self.a.run("offer", "zeros", "-r")

    def test_connections_that_change(self):
        """Those that are there stay; new ones come when there is room."""
        self.a.run("offer", "few", "file", "/dev/zero", "-a", "any")
        ctl = self.a.mount / "streams/offer/few/ctl"
        flows = [self.flow("few")[0] for _ in range(3)]
        ctl.write_text("limit connections 1\n")
        refused = lambda: subprocess.run(self.lab.enter(2) + [P2P, "dial", "alice/few"], env=self.b.env, stdin=subprocess.DEVNULL,
                                         capture_output=True, timeout=30).returncode
        self.assertEqual(refused(), 4)
        self.assertEqual([p.poll() for p in flows], [None] * 3)
        for p in flows:
            p.kill()
        for row in self.a.json_lines("streams"):
            if row["service"] == "few":
                self.a.run("streams", "--hangup", row["stream"], check=False)
        wait_for("there is room", lambda: not [r for r in self.a.json_lines("streams") if r["service"] == "few"])
        p, second = self.flow("few")
        self.assertGreater(second(), 0)
        self.a.run("offer", "few", "-r")


if __name__ == "__main__":
    unittest.main(verbosity=2)
