#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Services of datagrams: bursts, what is lost and where it is counted, rates, and names that are not listed."""
import errno, os, pathlib, signal, socket, subprocess, sys, time, unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from lab import P2P, wait_for
from services import Services

UDP_ECHO = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1], flush=True)
while True: s.sendto(*s.recvfrom(65536))
"""
# Counts what comes, with a buffer that loses none; at a line of its input it tells how many
UDP_COUNT = """
import select, socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("127.0.0.1", 0))
s.setsockopt(socket.SOL_SOCKET, 33, 256 << 20)  # SO_RCVBUFFORCE
print(s.getsockname()[1], flush=True)
count = 0
while True:
    for f in select.select([s, sys.stdin], [], [])[0]:
        if f is s:
            s.recv(65536)
            count += 1
        else:
            sys.stdin.readline() or sys.exit()
            print(count, flush=True)
"""
# so many datagrams of so many bytes, one after the other as fast as it can
UDP_BURST = """
import socket, sys
port, count, size = map(int, sys.argv[1:])
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect(("127.0.0.1", port))
for i in range(count): s.send(bytes(size))
"""
# sends 2.4 MB a second to who sent the first
UDP_FLOOD = """
import socket, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1], flush=True)
d, a = s.recvfrom(100)
while True:
    s.sendto(bytes(1200), a)
    time.sleep(0.0005)
"""


class Datagrams(Services):
    def counter(self):
        p = self.lab.popen(1, [sys.executable, "-u", "-c", UDP_COUNT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.addCleanup(p.stdout.close)
        self.addCleanup(p.stdin.close)
        return p, p.stdout.readline().strip()

    @staticmethod
    def count(p):
        p.stdin.write("\n")
        p.stdin.flush()
        return int(p.stdout.readline())

    def row(self, port):
        return next(r for r in self.b.json_lines("forward") if r["from"] == f"udp 127.0.0.1:{port}")

    def offered(self, name):
        return next(r for r in self.a.json_lines("offer") if r["name"] == name)

    def burst(self, port, count, size):
        self.use(sys.executable, "-c", UDP_BURST, port, count, size)

    def test_a_burst_arrives(self):
        """More at once than a socket holds by itself, and than may wait for a stream that is behind."""
        p, port = self.counter()
        self.offer("burst", "udp", port)
        here = self.forward("udp", "burst")
        sent = 0
        for count, size in ((1000, 100), (800, 1200), (20, 30000)):
            self.burst(here, count, size)
            sent += count
            wait_for(f"all {sent} arrive: {self.count(p)}, {self.row(here)}", lambda: self.count(p) + self.row(here)["dropped"] == sent)
            self.assertEqual(self.row(here)["dropped"], 0)

    def test_what_is_lost_is_counted(self):
        """Neither node runs for a while: every datagram has arrived, or stands under `dropped`."""
        p, port = self.counter()
        self.offer("lossy", "udp", port)
        here = self.forward("udp", "lossy")
        self.burst(here, 1, 10)
        wait_for("the flow is open", lambda: self.count(p) == 1)
        sent, lost = 1, lambda: self.row(here)["dropped"] + self.offered("lossy")["dropped"]
        for node in (self.a, self.b):
            before = self.row(here)["dropped"]
            node.signal(signal.SIGSTOP)
            try:
                self.burst(here, 30000, 1200)
            finally:
                node.signal(signal.SIGCONT)
            sent += 30000
            wait_for("all are accounted for", lambda: self.count(p) + lost() == sent)
            self.assertGreater(self.row(here)["dropped"], before, "more than can wait")
        status = (self.b.mount / "streams/forward/status").read_text().splitlines()
        column = status[0].split("\t").index("dropped")
        self.assertEqual([l.split("\t")[column] for l in status if f":{here}\t" in l], [str(self.row(here)["dropped"])])
        of_stream = sum(r["dropped"] for r in self.b.json_lines("streams") if r["service"] == "lossy")
        self.assertLessEqual(of_stream, self.row(here)["dropped"], "those that the kernel dropped are of no stream")
        ledger = (self.b.mount / "peers/alice/ledger").read_text()
        self.assertRegex(ledger, r"service_dropped\t\d+")

    def test_more_sources_than_flows(self):
        """Each has a port of its own, as who asks a name server: whose flow was used longest ago gives way, long before it is over."""
        self.offer("many", "udp", self.server(UDP_ECHO))
        use = """
import socket, sys
left = 3000
while left:
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect(("127.0.0.1", int(sys.argv[1]))); s.settimeout(0.2)
    s.send(b"who")
    try: left -= s.recv(100) == b"who"
    except TimeoutError: pass
"""
        here = self.forward("udp", "many")
        self.use(sys.executable, "-c", use, here)  # in a minute: an idle flow lasts as long, so three would be needed

    def test_a_rate_that_is_lifted(self):
        """A datagram goes whole, and what it took beyond the rate is owed: not any more when there is another rate."""
        self.offer("tight", "udp", self.server(UDP_ECHO))
        self.a.run("offer", "tight", "--rate", "1")
        use = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect(("127.0.0.1", int(sys.argv[1]))); s.settimeout(0.5)
def ask(size):
    s.send(bytes(size))
    try: return len(s.recv(65536)) == size
    except TimeoutError: return False
while ask(6000): pass
print("held", flush=True)
sys.stdin.readline()
print(any(ask(100 + i) for i in range(10)), flush=True)
"""
        p = self.lab.popen(2, [sys.executable, "-u", "-c", use, self.forward("udp", "tight")], stdin=subprocess.PIPE,
                           stdout=subprocess.PIPE, text=True)
        self.addCleanup(p.communicate, timeout=30)
        self.assertEqual(p.stdout.readline(), "held\n")
        self.a.run("offer", "tight", "--rate", "0")
        p.stdin.write("\n")
        p.stdin.flush()
        self.assertEqual(p.stdout.readline(), "True\n")

    def test_rate(self):
        """Of what the target says, too: more than the rate is dropped, and what comes is not old."""
        self.offer("slow", "udp", self.server(UDP_FLOOD))
        self.a.run("offer", "slow", "--rate", "100k")
        wait_for("it is listed", lambda: "slow" in os.listdir(self.alice))
        sock = os.readlink(self.alice / "slow.sock")
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
            s.settimeout(20)
            s.connect(sock)
            s.send(b"begin")
            end, got = time.monotonic() + 4, 0
            while time.monotonic() < end:
                got += len(s.recv(65536))
        self.assertTrue(250_000 < got < 550_000, got)  # four seconds, a burst, and nothing on top
        wait_for("the rest is counted", lambda: self.offered("slow")["dropped"] > 100)

    def test_an_empty_one_is_no_end(self):
        """Of a .sock an end and an empty datagram read alike."""
        self.offer("empty", "udp", self.server(UDP_ECHO))
        wait_for("it is listed", lambda: "empty.sock" in os.listdir(self.alice))
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
            s.settimeout(20)
            s.connect(os.readlink(self.alice / "empty.sock"))
            for d in b"one", b"", b"", b"two":
                s.send(d)
                self.assertEqual(s.recv(100), d)
            for d in b"", b"last":
                s.send(d)
            s.shutdown(socket.SHUT_WR)
            self.assertEqual([s.recv(100) for _ in range(3)], [b"", b"last", b""])

    # ---- names that are not listed ----

    def test_a_name_that_is_not_listed(self):
        """As a file, as a socket, by command: a peer that is not connected lists nothing, and whether it is a service of datagrams
        only the peer tells."""
        self.offer("udp-echo", "udp", self.server(UDP_ECHO))
        self.offer("echo", "echo")
        wait_for("both are listed", lambda: {"echo", "udp-echo"} <= set(os.listdir(self.alice)))

        def away():
            self.b.run("disconnect", self.a.id)
            wait_for("it is away", lambda: not os.listdir(self.alice))

        away()
        target = os.readlink(self.alice / "udp-echo.sock")
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
            s.settimeout(20)
            s.connect(target)
            for d in b"one", b"two":
                s.send(d)
            self.assertEqual([s.recv(100), s.recv(100)], [b"one", b"two"])
        away()
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(20)
            s.connect(os.readlink(self.alice / "echo.sock"))
            s.sendall(b"stream")
            self.assertEqual(s.recv(100), b"stream")
        for name in ("udp-echo", "echo"):
            away()
            fd = os.open(self.alice / name, os.O_RDWR)
            os.write(fd, name.encode())
            self.assertEqual(os.read(fd, 100), name.encode())
            os.close(fd)
        # streams/clone, too
        away()
        ctl = os.open(self.b.mount / "streams/clone", os.O_RDWR)
        number = os.pread(ctl, 100, 0).decode().strip()
        os.write(ctl, b"connect alice/udp-echo")
        data = os.open(self.b.mount / "streams" / number / "data", os.O_RDWR)
        for d in b"one", b"two":
            os.write(data, d)
        self.assertEqual([os.read(data, 100), os.read(data, 100)], [b"one", b"two"])
        os.close(data)
        os.close(ctl)
        # p2p dial asks the peer; --datagrams insists
        dial = lambda *args: self.lab.popen(2, [P2P, "dial", *args], env=self.b.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                            stderr=subprocess.DEVNULL)
        for args in (["alice/udp-echo"], ["-u", "alice/udp-echo"]):
            p = dial(*args)
            for d in b"one", b"two":
                os.write(p.stdin.fileno(), d)
                self.assertEqual(os.read(p.stdout.fileno(), 100), d)
            p.kill()
            p.communicate()
        p = dial("-u", "alice/echo")
        p.communicate(timeout=30)
        self.assertEqual(p.returncode, 6)

    def test_sock_of_a_peer_that_cannot_be_reached(self):
        """Said by the link, so that what connects says it too, and does not find a socket that ends at once."""
        self.a.stop()
        wait_for("it is away", lambda: not os.listdir(self.alice))
        try:
            with self.assertRaises(OSError) as e:
                os.readlink(self.alice / "unknown.sock")
            self.assertEqual(e.exception.errno, errno.EHOSTUNREACH)
            with socket.socket(socket.AF_UNIX) as s, self.assertRaises(OSError) as e:
                s.connect(str(self.alice / "unknown.sock"))
            self.assertEqual(e.exception.errno, errno.EHOSTUNREACH)
        finally:
            self.a.start()
            self.b.run("connect", self.a.address())


if __name__ == "__main__":
    unittest.main(verbosity=2)
