#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Streams with software that is not ours: handlers and dials of js-libp2p, `ipfs p2p` of Kubo, both ways.

Both speak /x/<service> with raw bytes after the negotiation, as we do, so a service of theirs is a file, a forward and a dial here, and an
offer of ours a protocol there.
"""
import hashlib, json, os, pathlib, subprocess, sys, threading, unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from interop_helia import Helia, helia_folder
from interop_kubo import Kubo, kubo_program
from lab import P2P, Lab, need, wait_for

ECHO_SERVER = """
import socket, threading
def echo(c):
    while piece := c.recv(65536): c.sendall(piece)
    c.shutdown(socket.SHUT_WR)
s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1], flush=True)
while True: threading.Thread(target=echo, args=(s.accept()[0],), daemon=True).start()
"""

MOUNTING = (("Experimental.Libp2pStreamMounting", True),)


def server(lab, index, script):
    """A Python program in a namespace that prints the port it listens on."""
    p = lab.popen(index, [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    return p.stdout.readline().strip()


def free_port(lab, index, kind="SOCK_STREAM"):
    script = f"import socket; s = socket.socket(type=socket.{kind}); s.bind(('127.0.0.1', 0)); print(s.getsockname()[1])"
    return subprocess.run(lab.enter(index) + [sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.strip()


def through(lab, index, port, data, most=1 << 30):
    """Sends `data` to a port of 127.0.0.1 in a namespace and returns what came until the other end, or until there were `most` bytes.

    It sends no end: Kubo's `ipfs p2p` closes a stream altogether when either side ends (p2p/stream.go)."""
    script = ("import socket, sys, threading\ns = socket.create_connection(('127.0.0.1', int(sys.argv[1])), 30)\n"
              "d, left = sys.stdin.buffer.read(), int(sys.argv[2])\n"
              "threading.Thread(target=s.sendall, args=(d,), daemon=True).start()\n"
              "while left and (p := s.recv(min(left, 65536))): left -= len(p); sys.stdout.buffer.write(p)\n")
    p = subprocess.run(lab.enter(index) + [sys.executable, "-c", script, str(port), str(most)], input=data, capture_output=True, timeout=60)
    if p.returncode:
        raise AssertionError(p.stderr.decode())
    return p.stdout


class StreamTests:
    """What is the same with either: `theirs` is the id of their node, `service(name)` makes one of theirs that echoes."""

    def folder(self):
        return self.ours.mount / "peers" / self.theirs / "streams"

    def dial(self, service, data=b"", timeout=60):
        """p2p dial, whose input ends after `data`."""
        return subprocess.run(self.lab.enter(1) + [P2P, "dial", f"{self.theirs}/{service}"], env=self.ours.env, input=data,
                              capture_output=True, timeout=timeout)

    def test_dial(self):
        self.echo_service("echo")
        data = os.urandom(3_000_000)
        p = self.lab.popen(1, [P2P, "dial", f"{self.theirs}/echo"], env=self.ours.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        with p.stdin, p.stdout:
            writer = threading.Thread(target=p.stdin.write, args=(data,))
            writer.start()
            self.assertTrue(p.stdout.read(len(data)) == data)
            writer.join()
        p.wait(30)
        self.assertEqual(self.dial("nothing").returncode, 6)

    def test_opened_as_a_file(self):
        self.echo_service("file")
        fd = os.open(self.folder() / "file", os.O_RDWR)
        os.write(fd, b"as a file")
        self.assertEqual(os.read(fd, 100), b"as a file")
        os.close(fd)
        with self.assertRaises(PermissionError):
            os.open(self.folder() / "nothing", os.O_RDWR)

    def test_forward(self):
        self.echo_service("far")
        port = free_port(self.lab, 1)
        self.ours.run("forward", "tcp", port, f"{self.theirs}/far")
        data = os.urandom(1_000_000)
        self.assertTrue(through(self.lab, 1, port, data, len(data)) == data)
        self.ours.run("forward", "--remove", "tcp", port)

    def test_not_connected(self):
        """Nothing is listed of a peer that is away; a name dials it all the same."""
        self.echo_service("away")
        self.ours.run("disconnect", self.theirs)
        fd = os.open(self.folder() / "away", os.O_RDWR)
        os.write(fd, b"back")
        self.assertEqual(os.read(fd, 100), b"back")
        os.close(fd)


class JsStreams(StreamTests, unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        need()
        folder = helia_folder()
        cls.lab = Lab(2).__enter__()
        cls.addClassCleanup(cls.lab.__exit__, None, None, None)
        cls.ours = cls.lab.node(1)
        cls.js = Helia(cls.lab, 2, folder)
        cls.theirs = cls.js.id
        cls.ours.run("connect", cls.js.address)

    def echo_service(self, name):
        self.js("handle", service=name, kind="echo")

    def offer(self, *args, to=None):
        self.ours.run("offer", "-a", to or self.js.id, "--", *args)

    def open(self, service):
        return self.js("open", address=self.ours.address(), service=service)

    def state(self, talk, what, check):
        try:
            return wait_for(what, lambda: (lambda s: s if check(s) else None)(self.js("state", talk=talk)))
        except AssertionError as e:
            raise AssertionError(f"{e}: {self.js('state', talk=talk)}; ours: {self.ours.run('streams', '-a')}")

    def came(self, service):
        return wait_for(f"{service} was opened", lambda: (lambda t: t + 1)(self.js("came", service=service)["talk"])) - 1

    def hold(self, service):
        """A stream that we opened as a file and js holds: (descriptor, number at js)."""
        self.js("handle", service=service, kind="hold")
        fd = os.open(self.folder() / service, os.O_RDWR)
        self.addCleanup(os.close, fd)
        return fd, self.came(service)

    def test_hello(self):
        self.js("handle", service="hello", kind="hello")
        self.assertEqual(self.dial("hello").stdout, b"hello from js\n")
        self.assertEqual((self.folder() / "hello").read_bytes(), b"hello from js\n")

    def test_listed(self):
        """A handler of js is pushed by identify. (Kubo lists no more than "/x/".)"""
        self.assertNotIn("listed", os.listdir(self.folder()))
        self.js("handle", service="listed", kind="hello")
        wait_for("it is listed", lambda: {"listed", "listed.sock"} <= set(os.listdir(self.folder())))
        self.js("unhandle", service="listed")
        wait_for("it is no longer listed", lambda: "listed" not in os.listdir(self.folder()))

    def test_our_end_is_passed_on(self):
        self.js("handle", service="sum", kind="sum")
        data = os.urandom(5_000_000)
        self.assertEqual(self.dial("sum", data).stdout.decode(), hashlib.sha256(data).hexdigest())

    def test_their_end_is_passed_on(self):
        """js has finished, and what we send still arrives."""
        fd, talk = self.hold("oneway")
        self.js("send", talk=talk, data="all of it")
        self.js("finish", talk=talk)
        self.assertEqual(os.read(fd, 100), b"all of it")
        self.assertEqual(os.read(fd, 100), b"")
        os.write(fd, b"and still here")
        self.state(talk, "js got it", lambda s: s["head"] == "and still here")

    def test_js_resets(self):
        fd, talk = self.hold("reset")
        os.write(fd, b"x")
        self.state(talk, "js got it", lambda s: s["bytes"] == 1)
        self.js("abort", talk=talk)
        with self.assertRaises(ConnectionResetError):
            os.read(fd, 100)

    def test_we_reset(self):
        """A program that is gone with bytes unread."""
        self.js("handle", service="big", kind="hold")
        p = self.lab.popen(1, [P2P, "dial", f"{self.theirs}/big"], env=self.ours.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        talk = self.came("big")
        p.kill()
        self.state(talk, "js saw it end", lambda s: s["ended"] or s["closed"])
        p.stdin.close()
        p.stdout.close()

    def test_js_dials_an_echo(self):
        self.offer("back", "echo")
        talk = self.open("back")["talk"]
        self.js("sendMany", talk=talk, count=2_000_000)
        self.js("finish", talk=talk)
        s = self.state(talk, "all came back", lambda s: s["ended"])
        self.assertEqual((s["bytes"], s["hash"]), (2_000_000, hashlib.sha256(b"x" * 2_000_000).hexdigest()))
        self.state(talk, "it is closed", lambda s: s["closed"] == "closed")

    def test_js_dials_a_program(self):
        """js ends its side, our side goes on; and a program that ends first."""
        self.offer("digest", "exec", "/usr/bin/sha256sum")
        talk = self.open("digest")["talk"]
        self.js("send", talk=talk, data="hello")
        self.js("finish", talk=talk)
        s = self.state(talk, "the answer", lambda s: s["ended"])
        self.assertIn(hashlib.sha256(b"hello").hexdigest(), s["head"])
        self.offer("words", "exec", "/bin/echo", "two", "words")
        talk = self.open("words")["talk"]
        self.assertEqual(self.state(talk, "its end", lambda s: s["ended"])["head"], "two words\n")

    def test_js_is_reset_by_us(self):
        self.offer("cut", "echo")
        talk = self.open("cut")["talk"]
        self.js("send", talk=talk, data="x")
        self.state(talk, "the echo", lambda s: s["bytes"] == 1)
        self.ours.run("offer", "cut", "-d", self.js.id)
        s = self.state(talk, "it broke", lambda s: s["closed"])
        self.assertEqual(s["closed"], "StreamResetError")

    def test_js_is_not_allowed(self):
        self.ours.run("offer", "secret", "echo")
        self.assertEqual(self.open("secret"), self.open("nothing"))
        self.assertEqual(self.open("secret"), {"refused": "UnsupportedProtocolError"})
        self.assertNotIn("/x/secret", self.js("services", peer=self.ours.id)["protocols"])
        self.ours.run("offer", "secret", "-a", self.js.id)
        wait_for("js is told", lambda: "/x/secret" in self.js("services", peer=self.ours.id)["protocols"])
        self.assertIn("talk", self.open("secret"))

    def test_many(self):
        self.offer("many", "echo")
        talks = [self.open("many")["talk"] for _ in range(200)]
        for t in talks:
            self.js("send", talk=t, data=f"talk {t}")
        for t in talks:
            self.state(t, "its own bytes", lambda s: s["head"] == f"talk {t}")
        for t in talks:
            self.js("abort", talk=t)
        wait_for("all are gone", lambda: not [s for s in self.ours.json_lines("streams") if s["service"] == "many"])


class KuboStreams(StreamTests, unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        need()
        program = kubo_program()
        cls.lab = Lab(3).__enter__()
        cls.addClassCleanup(cls.lab.__exit__, None, None, None)
        cls.ours = cls.lab.node(1)
        cls.kubo = Kubo(cls.lab, 2, program, more=MOUNTING)
        cls.theirs = json.loads(cls.kubo("id"))["ID"]
        cls.kubo("swarm", "connect", cls.ours.address())
        cls.echo_port = server(cls.lab, 2, ECHO_SERVER)

    def echo_service(self, name):
        self.kubo("p2p", "listen", f"/x/{name}", f"/ip4/127.0.0.1/tcp/{self.echo_port}")

    def forward_here(self, service):
        """Kubo's port that leads to an offer of ours."""
        port = free_port(self.lab, 2)
        self.kubo("p2p", "forward", f"/x/{service}", f"/ip4/127.0.0.1/tcp/{port}", f"/p2p/{self.ours.id}")
        return port

    def test_kubo_forwards_to_us(self):
        self.ours.run("offer", "-a", self.theirs, "--", "ours", "tcp", server(self.lab, 1, ECHO_SERVER))
        data = os.urandom(3_000_000)
        self.assertTrue(through(self.lab, 2, self.forward_here("ours"), data, len(data)) == data)

    def test_kubo_forwards_to_a_program(self):
        """The program's end reaches them."""
        self.ours.run("offer", "-a", self.theirs, "--", "words", "exec", "/bin/echo", "two", "words")
        self.assertEqual(through(self.lab, 2, self.forward_here("words"), b""), b"two words\n")

    def test_kubo_is_not_allowed(self):
        self.ours.run("offer", "secret", "echo")
        port = self.forward_here("secret")
        try:
            self.assertEqual(through(self.lab, 2, port, b"x"), b"")
        except AssertionError as e:
            self.assertRegex(str(e), "ConnectionResetError|BrokenPipeError")
        self.ours.run("offer", "secret", "-a", self.theirs)
        self.assertEqual(through(self.lab, 2, port, b"now", 3), b"now")

    def test_reported_peer_id(self):
        """--report-peer-id: the target is told who dialed, before the bytes."""
        self.kubo("p2p", "listen", "--report-peer-id", "/x/who", f"/ip4/127.0.0.1/tcp/{self.echo_port}")
        port = free_port(self.lab, 1)
        self.ours.run("forward", "tcp", port, f"{self.theirs}/who")
        told = f"{self.ours.id}\nx".encode()
        self.assertEqual(through(self.lab, 1, port, b"x", len(told)), told)

    def test_kubo_dies(self):
        """Killed in the middle of a stream: broken, not ended. Then it is away."""
        kubo = Kubo(self.lab, 3, self.kubo.program, more=MOUNTING)
        theirs = json.loads(kubo("id"))["ID"]
        kubo("swarm", "connect", self.ours.address())
        kubo("p2p", "listen", "/x/echo", f"/ip4/127.0.0.1/tcp/{server(self.lab, 3, ECHO_SERVER)}")
        fd = os.open(self.ours.mount / "peers" / theirs / "streams/echo", os.O_RDWR)
        self.addCleanup(os.close, fd)
        os.write(fd, b"x")
        self.assertEqual(os.read(fd, 10), b"x")
        kubo.daemon.kill()
        with self.assertRaises(ConnectionResetError):
            os.read(fd, 10)


if __name__ == "__main__":
    unittest.main(verbosity=2)
