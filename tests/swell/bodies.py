#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Bodies of control requests while they come: 50 clients that each send 4 MiB slowly, in step, to a node with a budget of 32 MiB. Private
memory stays below the budget, a question of ordinary size is answered meanwhile, and everyone gets an answer. One that stops in
the middle does not stop the others for ever. More connections than there is room for are told so."""
import contextlib, http.client, json, os, pathlib, socket, sys, threading, time, unittest

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parents[1] / "lib"), str(pathlib.Path(__file__).resolve().parent)]
import solo
from clock import Clock
from swell import MIB, SANITIZED, Watch

CLIENTS, BODY, PIECE = 50, 4 * MIB - 1, 64 << 10
BUDGET = 32 * MIB
ROOM = 32  # connections with 16 MiB: an eighth of it, at 64 KiB each


class Client(threading.Thread):
    def __init__(self, node, step):
        super().__init__(daemon=True)
        self.node, self.step, self.answer = node, step, None
        self.sent, self.stop = 0, threading.Event()

    def connect(self):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(60)
        self.socket.connect(str(self.node.home / "run" / "control"))
        self.socket.sendall(b"POST /v1/nothing HTTP/1.1\r\nHost: p2p\r\nContent-Length: %d\r\n\r\n" % BODY)

    def run(self):
        self.connect()
        with self.socket:
            while self.sent < BODY and not self.stop.wait(self.step):
                n = min(PIECE, BODY - self.sent)
                self.socket.sendall(bytes(n))
                self.sent += n
            if self.stop.is_set():
                return
            answer = http.client.HTTPResponse(self.socket)
            answer.begin()
            self.answer = json.loads(answer.read())


class Bodies(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        solo.need(shim=False)

    def setUp(self):
        self.node = self.enterContext(solo.Solo(solo.QUIET + "memory = 32M\n")).start()
        self.node.process.home = self.node.home
        self.watch = Watch(self.node, 0.02)
        self.addCleanup(self.watch.end)

    def charged(self):
        return next(row["used"] for row in self.node.rows("/v1/limits") if row["name"] == "memory.read")

    def wait_for_calm(self):
        end = time.monotonic() + 10
        while self.charged() > MIB:
            self.assertLess(time.monotonic(), end, f"{self.charged()} bytes are charged")
            time.sleep(0.02)

    def test_fifty_clients(self):
        clients = [Client(self.node, 0.005) for _ in range(CLIENTS)]
        for c in clients:
            c.start()
        answers = []
        while any(c.is_alive() for c in clients):
            begun = time.monotonic()
            self.node.status()
            answers.append(time.monotonic() - begun)
            time.sleep(0.05)
        for c in clients:
            self.assertEqual(c.answer and c.answer["error"], "ERR_NOT_FOUND")
        self.wait_for_calm()
        private = self.watch.end().private
        print(f"private memory {private / 1e6:.1f} MB; the slowest of {len(answers)} answers {max(answers) * 1000:.0f} ms", file=sys.stderr)
        if not SANITIZED:
            self.assertLess(private, BUDGET)

    def node_with(self, config, clock=None):
        node = self.enterContext(solo.Solo(solo.QUIET + config))
        node.env.update(clock(node).env if clock else {})
        return node.start()

    def test_eldest_is_silent(self):
        """Who began first and sends nothing is cut off after ten seconds, when others wait."""
        clock = {}
        node = self.node_with("memory = 16M\n", lambda n: clock.setdefault(0, Clock(n.home / "clock")))
        silent, *others = [Client(node, 0) for _ in range(8)]
        silent.connect()
        self.addCleanup(silent.socket.close)
        silent.socket.sendall(bytes(BODY - PIECE))
        for c in others:  # none of them can go on: with what the first has there is no room for a whole one
            c.start()
        before = []
        while not before or not all(before) or before != [c.sent for c in others]:  # or who has not had its turn is silent as well
            before = [c.sent for c in others]
            time.sleep(0.2)
        silent.socket.setblocking(False)
        for second in range(1, 1000):
            clock[0].forward(1, node.status)
            with contextlib.suppress(BlockingIOError):
                self.assertEqual(silent.socket.recv(1), b"")
                break
        self.assertIn(second, range(10, 900), "it is cut off, and not too soon")
        for c in others:
            c.join(60)
            self.assertEqual(c.answer and c.answer["error"], "ERR_NOT_FOUND")

    def test_too_many_connections(self):
        """With 16 MiB there are 32: the next is told so and closed, one that does not ask is cut off, and when some go others may come."""
        node = self.node_with("memory = 16M\n")
        path = str(node.home / "run" / "control")

        def connect():
            s = self.enterContext(socket.socket(socket.AF_UNIX))
            s.settimeout(60)
            s.connect(path)
            return s
        idle = [connect() for _ in range(ROOM + 16)]
        for s in idle[ROOM:]:
            self.assertEqual(s.recv(1), b"", "who does not ask is cut off")
        with self.assertRaises(solo.Refused) as e:
            node.status()
        self.assertEqual(e.exception.args[0], "ERR_LIMIT")
        p = node.run("status")
        self.assertEqual(p.returncode, 1)
        self.assertIn(f"{ROOM} connections are open", p.stderr)
        for s in idle[:ROOM:2]:
            s.close()
        for _ in range(3 * ROOM):
            node.status()
        for s in idle[1:ROOM:2]:
            s.sendall(b"GET /v1/version HTTP/1.1\r\nHost: p2p\r\n\r\n")
            self.assertIn(b"200 OK", s.recv(4096))

    def test_some_stop_and_some_go(self):
        """What they sent is given back when they go; who stays silent is cut off when others wait."""
        silent = [Client(self.node, 0) for _ in range(CLIENTS)]
        for c in silent:
            c.connect()
            c.socket.setblocking(False)
            try:
                while c.sent < BODY - PIECE:
                    c.sent += c.socket.send(bytes(PIECE))
            except BlockingIOError:
                pass
        other = Client(self.node, 0)
        other.start()
        for c in silent[::2]:
            c.socket.close()
        other.join(120)
        self.assertEqual(other.answer and other.answer["error"], "ERR_NOT_FOUND")
        for c in silent:
            c.socket.close()
        self.wait_for_calm()
        if not SANITIZED:
            self.assertLess(self.watch.end().private, BUDGET)


if __name__ == "__main__":
    unittest.main(verbosity=2)
