#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Services of one machine used from another: dials, allow-lists, ends and breaks, forwards and who uses them."""
import os, pathlib, signal, subprocess, sys, threading, time, unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from lab import P2P, Lab, need, wait_for


class Streams(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        need()
        cls.lab = Lab(2).__enter__()
        cls.addClassCleanup(cls.lab.__exit__, None, None, None)
        cls.a = cls.lab.node(1, options=("--no-mount",))
        cls.b = cls.lab.node(2, options=("--no-mount",))
        cls.b.run("connect", cls.a.address())

    def offer(self, *args):
        self.a.run("offer", "-a", self.b.id, *args)

    def forward(self, kind, place, service):
        self.b.run("forward", kind, place, f"{self.a.id}/{service}")

    def python(self, index, code, *args, **kw):
        """A program of namespace `index`, with pipes."""
        return self.lab.popen(index, [sys.executable, "-u", "-c", code, *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **kw)

    def dial(self, service, data=b"", timeout=60):
        return subprocess.run(self.lab.enter(2) + [P2P, "dial", f"{self.a.id}/{service}"], env=self.b.env, input=data,
                              capture_output=True, timeout=timeout)

    def test_dial_passes_each_end_on(self):
        self.offer("sum", "exec", "/usr/bin/sha256sum")
        p = self.dial("sum", b"hello")
        self.assertEqual(p.returncode, 0, p.stderr)
        self.assertIn(b"2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824", p.stdout)

    def test_who_is_not_allowed_is_told_no_more_than_of_nothing(self):
        self.a.run("offer", "secret", "echo")
        secret, nothing = self.dial("secret"), self.dial("nothing")
        self.assertEqual((secret.returncode, nothing.returncode), (6, 6))
        self.assertEqual(secret.stderr, nothing.stderr)
        self.a.run("offer", "secret", "-a", "any")
        self.assertEqual(self.dial("secret", b"x").stdout, b"x")
        self.a.run("offer", "secret", "-d", "any")
        self.assertEqual(self.dial("secret").returncode, 6)

    def test_a_peer_killed_mid_stream_is_no_end(self):
        self.offer("echo", "echo")
        p = self.lab.popen(2, [P2P, "dial", f"{self.a.id}/echo"], env=self.b.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE)
        os.write(p.stdin.fileno(), b"x")
        self.assertEqual(os.read(p.stdout.fileno(), 1), b"x")
        self.a.kill()
        self.assertEqual(p.wait(60), 4, "broken, not ended")
        self.a.start("--no-mount")
        wait_for("it is back", lambda: self.dial("echo", b"y").stdout == b"y")

    def test_ctrl_c_ends_a_dial(self):
        """At once, wherever it comes: a signal just before the program waits is the one that used to be missed."""
        self.offer("bell", "echo")
        for i in range(60):
            p = self.lab.popen(2, [P2P, "dial", f"{self.a.id}/bell"], env=self.b.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            for _ in range(i % 4):
                os.write(p.stdin.fileno(), b"x")
                os.read(p.stdout.fileno(), 1)
            p.send_signal(signal.SIGINT if i % 4 else signal.SIGTERM)
            self.assertIn(p.wait(5), (130,) if i % 4 else (130, -signal.SIGTERM), "SIGTERM may come before it is caught")

    def test_ctrl_c_while_nobody_reads(self):
        self.offer("zeros", "file", "/dev/zero")
        p = self.lab.popen(2, [P2P, "dial", f"{self.a.id}/zeros"], env=self.b.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        os.read(p.stdout.fileno(), 1)
        wait_for("the pipe is full", lambda: not self.moves())
        p.send_signal(signal.SIGINT)
        self.assertEqual(p.wait(5), 130)

    def moves(self):
        before = self.b.json_lines("streams")
        time.sleep(0.1)
        return self.b.json_lines("streams") != before and [r["bytes_in"] for r in before] != [r["bytes_in"] for r in self.b.json_lines("streams")]

    def test_arguments_of_a_program_are_its_own(self):
        self.a.run("offer", "shell", "--allow", "any", "exec", "/bin/sh", "-c", "echo $0 $1", "--allow", "-x")
        self.assertEqual(self.dial("shell").stdout, b"--allow -x\n")
        self.a.run("offer", "-a", "any", "shell", "--", "exec", "/bin/echo", "-r")
        self.assertEqual(self.dial("shell").stdout, b"-r\n")

    def test_programs_do_not_outlive_their_streams(self):
        """One that SIGHUP ends, one that does not care, and what one has left behind."""
        scripts = {"polite": "echo $$; exec sleep 1000", "deaf": "trap '' HUP; echo $$; exec sleep 1000", "parent": "sleep 1000 & echo $!"}
        pids = {}
        for name, script in scripts.items():
            self.offer(name, "exec", "/bin/sh", "-c", script)
            p = self.lab.popen(2, [P2P, "dial", f"{self.a.id}/{name}"], env=self.b.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL)
            pids[name] = int(p.stdout.readline())
        alive = lambda name: os.path.exists(f"/proc/{pids[name]}")
        self.assertTrue(all(map(alive, pids)), "they run while their streams do, the child of one that has ended too")
        for row in self.a.json_lines("streams"):
            self.a.run("streams", "--hangup", row["stream"])
        start = time.monotonic()
        for name in ("polite", "parent"):
            wait_for(f"{name} has ended", lambda: not alive(name), 3)
        self.assertTrue(alive("deaf"), "it has its time")
        wait_for("the deaf one has ended", lambda: not alive("deaf"), 15)
        self.assertGreater(time.monotonic() - start, 4)
        wait_for("all are waited for", lambda: not self.children(), 5)

    def test_how_a_program_ended(self):
        """By itself, with whatever status: an end. By a signal: a break, so that half of something is not taken for the whole."""
        said = "echo said; echo aside >&2; "
        for name, script, status in (("well", said + "exit 0", 0), ("badly", said + "exit 3", 0), ("killed", said + "kill -9 $$", 4),
                                     ("broken", said + "kill -SEGV $$", 4), ("closed", said + "exec <&- >&-; sleep 3; kill -9 $$", 0)):
            self.offer(name, "exec", "/bin/sh", "-c", script)
            for _ in range(5 if name != "closed" else 1):
                p = self.dial(name)
                self.assertEqual(p.returncode, status, (name, p.stderr))
                self.assertIn(p.stdout, (b"said\n",) if status == 0 else (b"said\n", b""), name)
        self.assertIn("aside", (self.a.home / "log").read_text(), "standard error is the node's")
        self.assertNotIn(b"aside", p.stdout + p.stderr)
        # one that is killed from outside, while it works
        self.offer("works", "exec", "/bin/sh", "-c", "echo $$; exec sleep 1000")
        p = self.lab.popen(2, [P2P, "dial", f"{self.a.id}/works"], env=self.b.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE)
        os.kill(int(p.stdout.readline()), signal.SIGKILL)
        self.assertEqual(p.wait(10), 4)
        p.communicate()

    def test_many_programs_at_once(self):
        """Each has its own stream and its own standard input; none is left, not even as a zombie."""
        self.offer("many", "exec", "/bin/sh", "-c", "read x; echo $x $P2P_PEER $P2P_SERVICE")
        dials = [self.lab.popen(2, [P2P, "dial", f"{self.a.id}/many"], env=self.b.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
                 for _ in range(100)]
        wait_for("all run", lambda: len(self.children()) == 100)
        for i, p in enumerate(dials):
            self.assertEqual(p.communicate(f"{i}\n", timeout=30)[0], f"{i} {self.b.id} many\n")
        wait_for("all are waited for", lambda: not self.children(), 10)

    def children(self):
        return [c for t in pathlib.Path(f"/proc/{self.a.process.pid}/task").glob("*/children") for c in t.read_text().split()]

    def test_flows_of_a_udp_forward_keep_apart(self):
        self.offer("echo-udp", "udp", "9001")
        echo = self.python(1, "import socket\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\ns.bind(('127.0.0.1', 9001))\nprint('up')\n"
                              "while True:\n d, a = s.recvfrom(65536)\n s.sendto(d, a)")
        self.assertEqual(echo.stdout.readline(), "up\n")
        self.forward("udp", "9002", "echo-udp")
        client = """
import select, socket, time
socks = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(300)]
for s in socks:
    s.connect(('127.0.0.1', 9002))
left, end = set(range(300)), time.monotonic() + 20
while left and time.monotonic() < end:
    for i in left:
        socks[i].send(b'flow %d' % i)
    for s in select.select([socks[i] for i in left], [], [], 1)[0]:
        i = socks.index(s)
        assert s.recv(100) == b'flow %d' % i
        left.discard(i)
print(len(left))
"""
        self.assertEqual(self.python(2, client).communicate(timeout=40)[0], "0\n", "each has its own answer")
        row = [r for r in self.b.json_lines("forward") if r["from"] == "udp 127.0.0.1:9002"][0]
        self.assertEqual((row["total"], row["open"]), (300, 300))
        self.b.run("forward", "-r", "udp", "9002")
        echo.kill()

    def test_a_client_that_leaves_cancels_its_dial(self):
        """The peer does not answer; one client leaves, one only finishes sending."""
        self.offer("sum2", "exec", "/usr/bin/sha256sum")
        self.forward("tcp", "9003", "sum2")
        self.assertTrue(self.dial("sum2", b"").stdout)
        self.lab.cable(1, False)
        connect = "import socket, sys\ns = socket.create_connection(('127.0.0.1', 9003))\ns.sendall(b'hello')\n"
        leaver = self.python(2, connect + "print('up')\ninput()")
        waiter = self.python(2, connect + "s.shutdown(socket.SHUT_WR)\nprint('up')\nprint(s.recv(1000).decode())")
        for p in leaver, waiter:
            self.assertEqual(p.stdout.readline(), "up\n")
        open_now = lambda: [r["open"] for r in self.b.json_lines("forward")]
        wait_for("both dial", lambda: open_now() == [2])
        leaver.kill()
        wait_for("its stream has gone", lambda: open_now() == [1], 3)
        self.lab.cable(1, True)
        self.assertIn("2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824", waiter.communicate(timeout=30)[0])
        self.b.run("forward", "-r", "tcp", "9003")

    def test_a_forward_survives_its_peer(self):
        """Killed and started again, as often as it likes: who comes in between is told at once, who comes after is served at once."""
        self.offer("web", "exec", "/bin/sh", "-c", "read line; printf 'HTTP/1.0 200 OK\\r\\n\\r\\nhello'")
        self.forward("tcp", "9004", "web")
        curl = lambda: subprocess.run(self.lab.enter(2) + ["curl", "-s", "-m", "20", "http://127.0.0.1:9004/"], capture_output=True, text=True)
        self.assertEqual(curl().stdout, "hello")
        for _ in range(3):
            self.a.kill()
            start = time.monotonic()
            self.assertNotEqual(curl().returncode, 0)
            self.assertLess(time.monotonic() - start, 18, "it does not hang")
            self.a.start("--no-mount")
            start = time.monotonic()
            self.assertEqual(curl().stdout, "hello", self.b.json_lines("forward"))
            self.assertLess(time.monotonic() - start, 3)
        self.b.run("forward", "-r", "tcp", "9004")

    def test_a_thousand_streams_at_once(self):
        """Through one forward, all open together; each has a conversation of its own with the target."""
        echo = self.python(1, ECHO_SERVER)
        port = echo.stdout.readline().strip()
        self.offer("crowd", "tcp", port)
        self.forward("tcp", "9005", "crowd")
        crowd = self.python(2, CROWD)
        self.assertEqual(crowd.stdout.readline(), "all open\n")
        row = lambda: next(r for r in self.b.json_lines("forward") if r["from"] == "tcp 127.0.0.1:9005")
        self.assertEqual(row()["open"], 1000)
        self.assertEqual(len(self.a.json_lines("streams")), 1000)
        crowd.stdin.write("go\n")
        crowd.stdin.flush()
        self.assertEqual(crowd.stdout.readline(), "all right\n")
        self.assertEqual(crowd.wait(10), 0)
        wait_for("all have gone", lambda: row()["open"] == 0)
        self.assertEqual((row()["total"], row()["bytes_in"], row()["refused"]), (1000, row()["bytes_out"], 0))
        self.b.run("forward", "-r", "tcp", "9005")
        echo.kill()


ECHO_SERVER = """
import asyncio, resource
resource.setrlimit(resource.RLIMIT_NOFILE, (8192, 8192))
async def serve(r, w):
    while data := await r.read(65536):
        w.write(data)
        await w.drain()
    w.close()
async def main():
    s = await asyncio.start_server(serve, '127.0.0.1', 0, backlog=2000)
    print(s.sockets[0].getsockname()[1], flush=True)
    await s.serve_forever()
asyncio.run(main())
"""
CROWD = """
import asyncio, random, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (8192, 8192))
async def hello(i):
    r, w = await asyncio.open_connection('127.0.0.1', 9005)
    w.write(b'%04d' % i)
    assert await r.readexactly(4) == b'%04d' % i
    return r, w
async def talk(i, r, w):
    rng = random.Random(i)
    for _ in range(10):
        data = rng.randbytes(rng.randrange(1, 8192))
        w.write(data)
        assert await r.readexactly(len(data)) == data, i
    w.write_eof()
    assert await r.read() == b'', i
    w.close()
async def main():
    held = await asyncio.gather(*(hello(i) for i in range(1000)))
    print('all open', flush=True)
    sys.stdin.readline()
    await asyncio.gather(*(talk(i, *h) for i, h in enumerate(held)))
    print('all right', flush=True)
asyncio.run(main())
"""


if __name__ == "__main__":
    unittest.main(verbosity=2)
