#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A node that has no descriptor left for who connects to it waits until it has one: without a loop, and without a line in the log
for each turn of it."""
import contextlib, os, pathlib, resource, socket, struct, sys, time, unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from command_line import QUIET_CONFIG, Base, Home

NOBODY = "12D3KooWLi2pXdc7vbTXKpRktzUpNmvGrsw3Gc65y1krQf3TR5C5"  # a peer that is nowhere
SECONDS = 2.0


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def connect(kind, address):
    s = socket.socket(*kind)
    s.settimeout(10)
    s.connect(address)
    return s


class Descriptors(Base):
    def setUp(self):
        self.port = free_port()
        self.h = Home(self, QUIET_CONFIG + f"dns-port = {self.port}\n").up()
        self.run_dir = self.h.dir / "run"
        with connect((socket.AF_UNIX,), str(self.run_dir / "control")) as s:
            self.pid = struct.unpack("3i", s.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]

    def used(self):
        fields = pathlib.Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def first_free(self):
        used = set(map(int, os.listdir(f"/proc/{self.pid}/fd")))
        return next(n for n in range(len(used) + 1) if n not in used)

    def connects(self, kind, address, answers):
        _, most = resource.prlimit(self.pid, resource.RLIMIT_NOFILE)
        time.sleep(1.2)  # what was asked before is closed
        resource.prlimit(self.pid, resource.RLIMIT_NOFILE, (self.first_free(), most))
        self.addCleanup(resource.prlimit, self.pid, resource.RLIMIT_NOFILE, (most, most))
        with connect(kind, address) as first, connect(kind, address):
            before, written = self.used(), sum(f.stat().st_size for f in self.h.dir.rglob("*log*") if f.is_file())
            time.sleep(SECONDS)
            self.assertLess(self.used() - before, SECONDS / 10, "seconds of processor time")
            now = sum(f.stat().st_size for f in self.h.dir.rglob("*log*") if f.is_file())
            self.assertLess(now - written, 1000, "bytes of log")
            resource.prlimit(self.pid, resource.RLIMIT_NOFILE, (most, most))
            answers(first)

    def test_control(self):
        def answers(s):
            s.sendall(b"GET /v1/version HTTP/1.1\r\nHost: p2p\r\n\r\n")
            self.assertIn(b"200", s.recv(100))
        self.connects((socket.AF_UNIX,), str(self.run_dir / "control"), answers)

    def test_commands(self):
        """The node keeps some for them: one after the other, and three beside each other."""
        time.sleep(1.2)
        _, most = resource.prlimit(self.pid, resource.RLIMIT_NOFILE)
        with contextlib.ExitStack() as held:
            used = set(map(int, os.listdir(f"/proc/{self.pid}/fd")))
            resource.prlimit(self.pid, resource.RLIMIT_NOFILE, (max(used) + 1, most))
            for _ in range(max(used) + 2 - len(used)):  # one more than there is room for
                held.enter_context(connect((socket.AF_INET,), ("127.0.0.1", self.port)))
            for _ in range(5):
                self.assertEqual(self.h.run("status", timeout=10).returncode, 0)
            for _ in range(3):
                s = held.enter_context(connect((socket.AF_UNIX,), str(self.run_dir / "control")))
                s.sendall(b"GET /v1/events?follow=1 HTTP/1.1\r\nHost: p2p\r\n\r\n")
                self.assertIn(b"200", s.recv(100))
            self.assertEqual(self.h.run("down", timeout=10).returncode, 0)

    def test_streams(self):
        def answers(s):
            s.sendall(b"nonsense\n")
            self.assertIn(b"ERR_INVALID", s.recv(1000))
        self.connects((socket.AF_UNIX,), str(self.run_dir / "streams"), answers)

    def test_a_socket_of_a_service(self):
        self.h.request("POST", "/v1/services", f"sock {NOBODY} udp/x")
        self.connects((socket.AF_UNIX, socket.SOCK_SEQPACKET), str(self.run_dir / "sock-1"), lambda s: self.assertEqual(s.recv(1), b""))

    def test_dns(self):
        def answers(s):
            query = struct.pack(">6H", 7, 0, 1, 0, 0, 0) + b"\x09localhost\x07overlay\0" + struct.pack(">2H", 1, 1)
            s.sendall(struct.pack(">H", len(query)) + query)
            self.assertIn(b"\x7f\0\0\1", s.recv(1000))
        self.connects((socket.AF_INET,), ("127.0.0.1", self.port), answers)


if __name__ == "__main__":
    unittest.main()
