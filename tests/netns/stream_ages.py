#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""How long a stream waits when one of its ends has gone, and a flow when nobody says anything: the node's clock is put forward."""
import os, pathlib, socket, subprocess, sys, time, unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from clock import Clock
from lab import P2P, Lab, need, wait_for
from services import Services

# Takes nothing of its connections until a line of its input says so; tells how the newest one ended, and after how many bytes
HOLD = """
import socket, sys, threading
s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1], flush=True)
kept = []
def accept():
    while True: kept.append(s.accept()[0]); print("came", flush=True)
threading.Thread(target=accept, daemon=True).start()
for line in sys.stdin:
    c, n, how = kept[-1], 0, "end"
    try:
        while p := c.recv(1 << 20): n += len(p)
    except ConnectionResetError: how = "reset"
    print(how, n, flush=True)
"""
UDP_ECHO = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1], flush=True)
while True: s.sendto(*s.recvfrom(65536))
"""


class Ages(Services):
    @classmethod
    def setUpClass(cls):
        need()
        cls.lab = Lab(2).__enter__()
        cls.addClassCleanup(cls.lab.__exit__, None, None, None)
        cls.clock = Clock(cls.lab.dir / "clock")
        cls.a, cls.b = cls.lab.node(1, env=cls.clock.env), cls.lab.node(2, env=cls.clock.env)
        cls.b.run("connect", cls.a.address())
        os.symlink(cls.a.id, cls.b.mount / "peers/alice")
        cls.alice = cls.b.mount / "peers/alice/streams"

    def setUp(self):
        self.target = self.lab.popen(1, [sys.executable, "-u", "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.addCleanup(self.target.communicate)
        self.addCleanup(self.target.kill)
        self.offer("hold", "tcp", self.target.stdout.readline().strip())

    def pass_(self, seconds):
        """Both nodes look at their clocks after each second: a ping is answered by one and heard by the other."""
        self.clock.forward(seconds, lambda: self.b.run("ping", "-c1", "alice"))

    def take(self):
        self.target.stdin.write("\n")
        self.target.stdin.flush()
        how, n = self.target.stdout.readline().split()
        return how, int(n)

    def streams(self, node=None):
        return [r for r in (node or self.b).json_lines("streams") if r["service"] in ("hold", "udp")]

    def dial(self):
        """A stream with a target that takes nothing, and our socket of it."""
        s = socket.socket(socket.AF_UNIX)
        self.addCleanup(s.close)
        wait_for("it is listed", lambda: "hold" in os.listdir(self.alice))
        s.connect(os.readlink(self.alice / "hold.sock"))
        self.assertEqual(self.target.stdout.readline(), "came\n")
        wait_for("it is open on both sides", lambda: ("hold", "open") in [(r["service"], r["state"]) for r in self.streams()])
        return s

    def fill(self, s):
        """Until nobody on the way takes any more, and some of it has not left."""
        s.setblocking(False)
        sent, arrived, end = 0, -1, 0
        while time.monotonic() < end or sent == arrived or arrived != self.arrived():
            try:
                sent += s.send(bytes(1 << 20))
                end = time.monotonic() + 0.5
            except BlockingIOError:
                if time.monotonic() >= end:
                    arrived, end = self.arrived(), time.monotonic() + 0.5
                time.sleep(0.01)

    def arrived(self):
        return self.streams(self.a)[0]["bytes_in"]

    def test_what_a_program_left_is_waited_for(self):
        """Two minutes, without a byte: given up, and the target is told that it broke."""
        s = self.dial()
        self.fill(s)
        s.close()
        self.pass_(100)
        self.assertEqual(len(self.streams()), 1, "it is still tried")
        self.pass_(150)
        wait_for("it is given up", lambda: not self.streams() and not self.streams(self.a), 5)
        self.assertEqual(self.take()[0], "reset")

    def test_what_has_left_is_not_lost(self):
        """The program's end, too: the target has all of it when it looks, and an end, although nobody waits for its answer any more."""
        s = self.dial()
        sent = 128 << 10  # the first window and the target's socket have room for it
        s.sendall(bytes(sent))
        s.close()
        wait_for("all has left", lambda: self.streams(self.a)[0]["bytes_in"] == sent)
        self.pass_(40)
        wait_for("it is given up here", lambda: not self.streams(), 5)
        self.assertEqual(self.take(), ("end", sent))

    def test_a_target_that_says_nothing_to_nobody(self):
        """All has left, and the program has closed its socket altogether: half a minute for an answer."""
        s = self.dial()
        s.send(b"x")
        s.close()
        self.pass_(20)
        self.assertEqual(len(self.streams()), 1)
        self.pass_(20)
        wait_for("it is given up", lambda: not self.streams() and not self.streams(self.a), 5)

    def test_half_a_stream_is_waited_for(self):
        """Who only finished sending is there: for as long as it likes."""
        s = self.dial()
        s.send(b"x")
        s.shutdown(socket.SHUT_WR)
        self.pass_(300)
        self.assertEqual(len(self.streams()), 1)
        self.assertEqual(self.take(), ("end", 1))
        s.close()
        self.pass_(40)
        wait_for("now it has gone", lambda: not self.streams() and not self.streams(self.a), 5)

    def test_a_slow_answer_to_much(self):
        """Who sent more than fits and then finished waits for the answer as long as it likes, too."""
        s = self.dial()
        self.fill(s)
        s.shutdown(socket.SHUT_WR)
        self.assertEqual(self.take()[0], "end")
        self.pass_(300)
        self.assertEqual(len(self.streams()), 1)
        s.close()
        self.pass_(40)
        wait_for("now it has gone", lambda: not self.streams(), 5)

    def test_flows_are_idle_out_after_a_minute(self):
        self.offer("udp", "udp", self.server(UDP_ECHO))
        here = self.forward("udp", "udp")
        client = self.lab.popen(2, [sys.executable, "-u", "-c", "import socket, sys\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
                                    f"s.connect(('127.0.0.1', {here})); s.settimeout(20)\n"
                                    "for line in sys.stdin: s.send(b'x'); print(len(s.recv(10)))"],
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

        def say():
            client.stdin.write("\n")
            client.stdin.flush()
            self.assertEqual(client.stdout.readline(), "1\n")

        say()
        first = self.streams()[0]["stream"]
        self.pass_(50)
        say()
        self.pass_(50)
        self.assertEqual([r["stream"] for r in self.streams()], [first], "it was used meanwhile")
        self.pass_(15)
        wait_for("the flow is over", lambda: not self.streams() and not self.streams(self.a), 5)
        say()
        self.assertNotEqual(self.streams()[0]["stream"], first, "the next datagram begins another")
        client.kill()
        client.communicate()


if __name__ == "__main__":
    unittest.main(verbosity=2)
