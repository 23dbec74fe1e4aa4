#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Datagrams over a path that is slower than they come: lost as datagrams are, never old. Prints how old they were."""
import pathlib, statistics, subprocess, sys, unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from lab import P2P, Lab, need, wait_for

SEND = """
import socket, struct, sys, time
rate, seconds, size = (float(x) for x in sys.argv[1:])
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect(('127.0.0.1', 9000))
begin = time.monotonic()
for i in range(int(rate * seconds / size)):
    wait = begin + i * size / rate - time.monotonic()
    if wait > 0:
        time.sleep(wait)
    s.send(struct.pack('<d', time.monotonic()) + bytes(int(size) - 8))
"""
RECEIVE = """
import socket, struct, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(('127.0.0.1', 9000))
print('up', flush=True)
s.settimeout(20)
while True:
    d = s.recv(65536)
    print(time.monotonic(), time.monotonic() - struct.unpack('<d', d[:8])[0], flush=True)
    s.settimeout(1.5)
"""


class SlowPath(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        need()

    def ages(self, rate, offered, seconds, size=1000, bulk=False, **path):
        """Seconds from send to receive of each datagram that arrived, after the first second."""
        with Lab(2, bridge=False) as lab:
            way = lab.path(1, 2, delay=25, rate=rate, **path)
            a, b = (lab.node(i, options=("--no-mount",), config="mdns = off\n") for i in (1, 2))
            b.run("connect", a.address(way.a_ip))
            a.run("offer", "audio", "udp", "9000", "-a", b.id)
            a.run("offer", "sink", "exec", "/bin/dd", "of=/dev/null", "status=none")
            a.run("offer", "sink", "-a", b.id)
            b.run("forward", "udp", "9000", f"{a.id}/audio")
            receiver = lab.popen(1, [sys.executable, "-c", RECEIVE], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            self.assertEqual(receiver.stdout.readline(), "up\n")
            if bulk:
                lab.popen(2, ["sh", "-c", f"exec {P2P} dial {a.id}/sink </dev/zero 2>/dev/null"], env=b.env)
                wait_for("the bulk moves", lambda: sum(r["bytes_out"] for r in b.json_lines("streams")) > rate)
            subprocess.run(lab.enter(2) + [sys.executable, "-c", SEND, str(offered), str(seconds), str(size)], check=True)
            rows = [tuple(map(float, line.split())) for line in receiver.communicate(timeout=30)[0].splitlines()]
            self.assertTrue(rows, "something arrives")
            got = [age for at, age in rows if at > rows[0][0] + 1]
            print(f"\n{rate / 125e3:.0f} Mbit/s, {offered / 125e3:.2f} offered{', beside bulk' if bulk else ''}: {len(rows)} of "
                  f"{int(offered * seconds / size)} arrived, age {1000 * statistics.median(got):.0f} ms, worst {1000 * max(got):.0f} ms")
            return got

    def test_more_than_the_path_takes(self):
        """A quarter of a second of it is the path's own queue."""
        got = self.ages(125e3, 250e3, 3, queue=32000)
        self.assertLess(statistics.median(got), 1.1)
        self.assertLess(max(got), 1.6)

    def test_beside_bulk_on_the_same_connection(self):
        self.assertLess(statistics.median(self.ages(625e3, 20e3, 3, size=200, bulk=True, queue=64000)), 0.45)


if __name__ == "__main__":
    unittest.main(verbosity=2)
