#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Services of datagrams: bursts, what is lost and where it is counted, and rates."""
import os, pathlib, signal, socket, subprocess, sys, time, unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from lab import wait_for
from services import Services

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


if __name__ == "__main__":
    unittest.main(verbosity=2)
