#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The table of p2p-mount(7), "How a stream ends": what each way to use a service sees of each end, and what each target sees."""
import errno, json, os, pathlib, signal, subprocess, sys, unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from lab import P2P, wait_for
from services import Services

# Connects, says x, takes what comes; prints it, how it ended, and whether something can still be said. With "hold" it says "up" first
CLIENT = """
import errno, json, os, socket, sys
kind, where, hold = sys.argv[1:4]
out = {"got": "", "end": "end", "after": ""}
def name(e): return errno.errorcode[e.errno]
try:
    if kind == "file":
        fd = os.open(where, os.O_RDWR)
        read, write = (lambda: os.read(fd, 65536)), (lambda d: os.write(fd, d))
    else:
        s = socket.socket(socket.AF_INET if kind == "tcp" else socket.AF_UNIX)
        s.settimeout(30)
        s.connect(("127.0.0.1", int(where)) if kind == "tcp" else where)
        read, write = (lambda: s.recv(65536)), s.send
    write(b"x")
    if hold:
        out["got"] += read().decode()
        print("up", flush=True)
    while d := read(): out["got"] += d.decode()
except OSError as e:
    out["end"] = name(e)
try:
    write(b"more")
    out["after"] = "said"
except OSError as e: out["after"] = name(e)
except NameError: pass
print(json.dumps(out))
"""
# Reads a byte, then does what its argument says; prints what it saw of the other side
TARGET = """
import errno, os, socket, struct, sys, threading
def say(text): os.write(1, text.encode() + b"\\n")  # at once: there are several
def serve(c):
    try:
        c.recv(1)
        if sys.argv[1] == "answer":
            c.sendall(b"hello")
            c.shutdown(socket.SHUT_WR)
        elif sys.argv[1] == "reset":
            c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            c.close()
            return
        elif sys.argv[1] == "hold":
            c.sendall(b"hello")
        got = b""
        while d := c.recv(65536): got += d
        say("end " + got.decode())
    except OSError as e: say(errno.errorcode[e.errno])
if sys.argv[2]: s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[2]); s.listen(); print(sys.argv[2], flush=True)
else: s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1], flush=True)
while True: threading.Thread(target=serve, args=(s.accept()[0],), daemon=True).start()
"""
WAYS = ("file", "sock", "tcp", "unix")


class Ends(Services):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.made, cls.places = {}, {}

    def target(self, mode, family="tcp"):
        """A service of that name; the program behind it."""
        name = f"{mode}-{family}"
        if name not in self.made:
            path = str(self.lab.dir / f"t-{name}") if family == "unix" else ""
            p = self.lab.popen(1, [sys.executable, "-u", "-c", TARGET, mode, path], stdout=subprocess.PIPE, text=True)
            self.addClassCleanup(p.stdout.close)
            self.offer(name, family, p.stdout.readline().strip())
            wait_for("it is listed", lambda: name in os.listdir(self.alice))
            self.ways(name)
            self.made[name] = p
        return name

    def ways(self, name):
        """What leads to a service: made once, and kept."""
        self.b.run("forward", "unix", self.lab.dir / f"f-{name}", f"alice/{name}")
        self.places[name] = {"file": self.alice / name, "sock": os.readlink(self.alice / f"{name}.sock"), "tcp": self.forward("tcp", name),
                             "unix": self.lab.dir / f"f-{name}"}

    def client(self, way, name, hold=""):
        kind = "unix" if way == "sock" else way
        return self.lab.popen(2, [sys.executable, "-c", CLIENT, kind, str(self.places[name][way]), hold], stdout=subprocess.PIPE, text=True)

    def sees(self, way, name):
        r = json.loads(self.client(way, name).communicate(timeout=40)[0])
        return r["got"], r["end"], r["after"]

    def dial(self, name):
        p = subprocess.run(self.lab.enter(2) + [P2P, "dial", f"alice/{name}"], env=self.b.env, input=b"x", capture_output=True, timeout=40)
        return p.stdout.decode(), p.returncode

    def test_the_target_finishes(self):
        """An end of file, and what is said after it arrives: with every way to use it, and with every target that has halves."""
        for family in ("tcp", "unix"):
            name = self.target("answer", family)
            for way in WAYS:
                with self.subTest(family=family, way=way):
                    self.assertEqual(self.sees(way, name), ("hello", "end", "said"))
                    self.assertEqual(self.made[name].stdout.readline(), "end more\n")
            self.assertEqual(self.dial(name), ("hello", 0))
            self.assertEqual(self.made[name].stdout.readline(), "end \n")

    def broken(self, what):
        """What is seen of a stream that breaks, by `what`(way); a unix socket does not tell it from an end. Who writes first hears EPIPE."""
        told, untold = {"ECONNRESET", "EPIPE"}, {"ECONNRESET", "EPIPE", "end"}
        for way, ends in (("file", told), ("tcp", told), ("sock", untold), ("unix", untold)):
            with self.subTest(way=way):
                self.assertIn(what(way)[1], ends)

    def events(self, kind, service):
        return [e for e in self.b.json_lines("events") if e["kind"] == kind and f"{self.a.id}/{service}: " in e["text"]]

    def test_the_target_breaks(self):
        name = self.target("reset")
        self.broken(lambda way: self.sees(way, name))
        wait_for("what a unix socket does not tell is an event", lambda: len(self.events("stream.broke", name)) == 2)
        self.assertEqual(self.dial(name)[1], 4)
        self.assertEqual(len(self.events("stream.broke", name)), 2, "those who were told need none")

    def test_the_target_is_not_there(self):
        self.offer("nobody", "tcp", self.free_port(1))
        wait_for("it is listed", lambda: "nobody" in os.listdir(self.alice))
        self.ways("nobody")
        self.broken(lambda way: self.sees(way, "nobody"))
        self.assertEqual(self.dial("nobody")[1], 4)

    def test_not_for_us(self):
        self.a.run("offer", "secret", "echo")
        self.ways("secret")
        self.assertEqual(self.sees("file", "secret")[1], "EACCES")
        self.assertEqual(self.sees("tcp", "secret")[1], "ECONNRESET")
        for way in ("sock", "unix"):
            self.assertIn(self.sees(way, "secret")[1], ("end", "ECONNRESET", "EPIPE"))
        self.assertEqual(self.dial("secret")[1], 6)
        wait_for("the events tell which", lambda: self.events("stream.failed", "secret"))
        self.assertIn("no such service", next(r["fault"] for r in self.b.json_lines("forward") if r["service"] == "secret"))

    def test_of_the_other_kind(self):
        """A forward of TCP to a service of datagrams, and the other way: the peer tells what it is, so that is the fault that is shown."""
        self.offer("dgrams", "udp", self.free_port(1))
        self.offer("bytes", "echo")
        wait_for("both are listed", lambda: {"dgrams", "bytes"} <= set(os.listdir(self.alice)))
        tcp, udp = self.forward("tcp", "dgrams"), self.forward("udp", "bytes")
        send = "import socket,sys\ns = socket.socket(type=getattr(socket, sys.argv[1]))\ns.connect(('127.0.0.1', int(sys.argv[2])))\ns.send(b'x')"
        for kind, port in (("SOCK_STREAM", tcp), ("SOCK_DGRAM", udp)):
            self.use(sys.executable, "-c", send, kind, port, check=False)  # it may be reset before it has sent
        fault = lambda service: next(r["fault"] for r in self.b.json_lines("forward") if r["service"] == service)
        wait_for("the TCP one tells", lambda: "'dgrams' is a service of datagrams" in fault("dgrams") and "udp" in fault("dgrams"))
        wait_for("the UDP one tells", lambda: "'bytes' is a service of streams" in fault("bytes") and "tcp" in fault("bytes"))

    def held(self, name, node):
        """Streams of every kind, open when `node` is killed; what each saw."""
        running = {way: self.client(way, name, "hold") for way in WAYS}
        for p in running.values():
            self.assertEqual(p.stdout.readline(), "up\n")
        dial = self.lab.popen(2, [P2P, "dial", f"alice/{name}"], env=self.b.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL)
        os.write(dial.stdin.fileno(), b"x")
        self.assertEqual(os.read(dial.stdout.fileno(), 5), b"hello")
        node.kill()
        seen = {way: json.loads(p.communicate(timeout=40)[0]) for way, p in running.items()}
        dial.communicate(timeout=40)
        self.assertEqual(dial.returncode, 4)
        return {way: r["end"] for way, r in seen.items()}

    def test_the_peer_is_killed(self):
        name = self.target("hold")
        seen = self.held(name, self.a)
        self.a.start()
        self.b.run("connect", self.a.address())
        self.assertEqual(seen, {"file": "ECONNRESET", "tcp": "ECONNRESET", "sock": "end", "unix": "end"})
        for _ in range(5):
            self.assertEqual(self.made[name].stdout.readline(), "end \n", "its node's kernel closed well")

    def test_we_break(self):
        """A program that is killed, and our whole node: the target sees an end, or a break."""
        name = self.target("hold")
        for way in WAYS:
            p = self.client(way, name, "hold")
            self.assertEqual(p.stdout.readline(), "up\n")
            p.send_signal(signal.SIGKILL)
            p.communicate()
            self.assertEqual(self.made[name].stdout.readline(), "end \n", way)
        seen = self.held(name, self.b)
        self.assertIn(seen["file"], ("ECONNABORTED", "ENOTCONN"))
        self.assertEqual((seen["tcp"], seen["sock"], seen["unix"]), ("end",) * 3)
        for _ in range(5):
            self.assertEqual(self.made[name].stdout.readline(), "ECONNRESET\n")
        self.b.start()
        self.b.run("connect", self.a.address())


if __name__ == "__main__":
    unittest.main(verbosity=2)
