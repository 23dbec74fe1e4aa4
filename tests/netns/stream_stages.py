#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Streams that wait and streams that break, at every stage: Ctrl-C and SIGKILL of the program, the peer killed, stopped, out of reach, the
node killed, a target that resets. Each answers promptly; afterwards nothing is left: no descriptor, no stream, nobody who waits."""
import errno, hashlib, os, pathlib, select, signal, socket, statistics, subprocess, sys, threading, time, unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from lab import P2P, child, end, pattern, wait_for
from services import Services

ROUNDS = int(os.environ.get("P2P_TEST_STAGES", "7"))
SANITIZED = b"__asan_init" in pathlib.Path(P2P).read_bytes() if os.access(P2P, os.R_OK) else False
SLOWER = 5 if SANITIZED else 1
MIB = 1 << 20
rows = []

# Accepts; "hold" reads nothing until SIGUSR1, "reset" takes a byte and resets, "flood" sends without an end, "trickle" a byte now and then,
# "both" sends 5 MiB and takes everything, each with its end
TARGET = """
import hashlib, signal, socket, struct, sys, threading, time
def hold(c): kept.append(c)
def reset(c):
    c.recv(1)
    c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    c.close()
def flood(c):
    try:
        while True: c.sendall(bytes(65536))
    except OSError: pass
def trickle(c):
    try:
        while True: c.sendall(b"x"); time.sleep(0.2)
    except OSError: pass
def both(c):
    def send():
        for i in range(80): c.sendall(bytes([i]) * 65536)
        c.shutdown(socket.SHUT_WR)
    t = threading.Thread(target=send); t.start()
    h = hashlib.sha256()
    while p := c.recv(65536): h.update(p)
    t.join(); print(h.hexdigest(), flush=True)
kept = []
signal.signal(signal.SIGUSR1, lambda *_: kept.clear())
s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1], flush=True)
while True: threading.Thread(target=globals()[sys.argv[1]], args=(s.accept()[0],), daemon=True).start()
"""


def ms(seconds):
    return f"{seconds * 1000:.2f} ms"


def waiting(node):
    """The processes that stand in .p2p/waiting."""
    return {int(l.split("\t")[0]) for l in (node.mount / ".p2p/waiting").read_text().splitlines() if not l.startswith("#")}


def in_call(pid, number):
    return pathlib.Path(f"/proc/{pid}/syscall").read_text().split()[0] == str(number)


def fill(path):
    fd = os.open(path, os.O_WRONLY)
    while True:
        os.write(fd, bytes(MIB))


def open_it(path):
    os.open(path, os.O_RDWR)


def read_one(path):
    os.read(os.open(path, os.O_RDONLY), 1)


def wait_in_poll(path):
    p = select.poll()
    p.register(os.open(path, os.O_RDONLY), select.POLLIN)
    p.poll()


class Stages(Services):
    nodes = 3

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.c, cls.targets = cls.lab.node(3), {}
        cls.b.run("connect", cls.c.address())
        cls.a.run("offer", "-a", "any", "--", "echo", "echo")
        cls.c.run("offer", "-a", "any", "--", "echo", "echo")
        for kind in ("hold", "reset", "flood", "trickle", "both"):
            port, p = cls.target(kind)
            cls.a.run("offer", "-a", "any", "--", kind, "tcp", port)
            cls.targets[kind] = p
        cls.carol = cls.b.mount / "peers" / cls.c.id / "streams"
        wait_for("they are listed", lambda: "both" in os.listdir(cls.alice) and "echo" in os.listdir(cls.carol))
        cls.sock = os.readlink(cls.alice / "both.sock")  # made now, and kept

    @classmethod
    def tearDownClass(cls):
        print("\n" + "\n".join(rows), file=sys.stderr)

    @classmethod
    def target(cls, kind):
        p = cls.lab.popen(1, [sys.executable, "-c", TARGET, kind], stdout=subprocess.PIPE, text=True)
        cls.addClassCleanup(p.stdout.close)
        return p.stdout.readline().strip(), p

    def left(self):
        """What a stream leaves while it is open, of each node that runs."""
        nodes = [n for n in (self.a, self.b, self.c) if n.process.poll() is None]
        return [(len(os.listdir(f"/proc/{n.process.pid}/fd")), len(n.json_lines("streams")), len(waiting(n)),
                 sum(e.isdigit() for e in os.listdir(n.mount / "streams"))) for n in nodes]

    def setUp(self):
        wait_for("all are connected", lambda: all(p["connected"] for p in self.b.json_lines("peers")))
        self.before = self.left()
        self.assertEqual([l[1:] for l in self.before], [(0, 0, 0)] * 3)

    def tearDown(self):
        try:
            wait_for("all are connected again", lambda: all(p["connected"] for p in self.b.json_lines("peers")))
            wait_for("nothing is left", self.nothing_left, 40)
        except AssertionError as e:
            raise AssertionError(f"{e}: fds, streams, waiting, streams/: {self.before} became {self.left()}") from None

    def nothing_left(self):
        """Two nodes may have dialed each other at once: so many more connections than before are no leak."""
        return all(fds <= before[0] + 2 and not any(more) for (fds, *more), before in zip(self.left(), self.before))

    def prompt(self, what, took, most=0.050):
        """By the median; a few alone may all meet a hiccup of a busy machine."""
        rows.append(f"{what:70}median {ms(statistics.median(took))}, worst {ms(max(took))}")
        self.assertLess(statistics.median(took), (most if len(took) >= 5 else max(most, 0.5)) * SLOWER, what)

    def interrupt(self, what, call, path, listed=True):
        """Several processes in that call at once; each signal frees them."""
        for number in (signal.SIGINT, signal.SIGKILL):
            pids = [child(lambda: call(path)) for _ in range(ROUNDS)]
            if listed:
                wait_for(f"{what}: they wait", lambda: set(pids) <= waiting(self.b))
            else:
                wait_for(f"{what}: they sleep", lambda: all(in_call(p, 7) for p in pids))
            self.prompt(f"{number.name} on {what}", end(pids, number))

    # ---- the program's signals ----

    def test_open_of_a_silent_peer(self):
        self.c.signal(signal.SIGSTOP)
        try:
            self.interrupt("open, the peer says nothing", open_it, self.carol / "echo")
            waits = child(lambda: open_it(self.carol / "echo"))
            began = time.monotonic()
            fd = self.echo(b"x")
            self.assertEqual(os.read(fd, 1), b"x")
            os.close(fd)
            self.assertLess(time.monotonic() - began, 1 * SLOWER, "another peer is not held up")
            self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(waits, 0)[1]), errno.ETIMEDOUT)
        finally:
            self.c.signal(signal.SIGCONT)

    def echo(self, data):
        fd = os.open(self.alice / "echo", os.O_RDWR)
        os.write(fd, data)
        return fd

    def test_read_write_poll(self):
        self.interrupt("read", read_one, self.alice / "echo")
        self.interrupt("write, the other side does not read", fill, self.alice / "hold")
        self.let_go()
        self.interrupt("poll", wait_in_poll, self.alice / "echo", listed=False)

    def test_close_while_the_other_side_does_not_read(self):
        fd = os.open(self.alice / "hold", os.O_WRONLY | os.O_NONBLOCK)
        with self.assertRaises(BlockingIOError):
            while True:
                os.write(fd, bytes(MIB))
        began = time.monotonic()
        os.close(fd)
        self.prompt("close with bytes unsent", [time.monotonic() - began])
        self.let_go()

    def let_go(self):
        """What was written and not taken would be waited for two minutes."""
        self.targets["hold"].send_signal(signal.SIGUSR1)
        return not self.b.json_lines("streams")

    def test_dial_by_command(self):
        """p2p dial: while it dials, while it reads, while it cannot write; and of a peer that is away."""
        def dial(who, feed=subprocess.DEVNULL):
            return subprocess.Popen(self.lab.enter(2) + [P2P, "dial", who], env=self.b.env, stdin=feed, stdout=subprocess.DEVNULL,
                                    stderr=subprocess.DEVNULL)

        def stop(what, make, state, gone=lambda: not self.b.json_lines("streams")):
            took = []
            for _ in range(3):
                p = make()
                wait_for(f"{what}: it is so far", lambda: [s for s in self.b.json_lines("streams") if s["state"] == state])
                time.sleep(0.05)  # there is no sign of a program that waits in poll()
                began = time.monotonic()
                p.send_signal(signal.SIGINT)
                self.assertEqual(p.wait(10), 130, what)
                took.append(time.monotonic() - began)
                wait_for(f"{what}: its stream is gone", gone)
            self.prompt(f"SIGINT on p2p dial, {what}", took)

        quiet = os.pipe()
        with open("/dev/zero", "rb") as zero:
            stop("waits for bytes", lambda: dial("alice/echo", quiet[0]), "open")
            stop("the other side does not read", lambda: dial("alice/hold", zero), "open", self.let_go)
        self.c.signal(signal.SIGSTOP)
        try:
            stop("the peer says nothing", lambda: dial(f"{self.c.id}/echo"), "connecting")
        finally:
            self.c.signal(signal.SIGCONT)
        for fd in quiet:
            os.close(fd)

    # ---- the peer's death ----

    def test_peer_out_of_reach(self):
        """Killed: its machine refuses, which is known at once. Pulled out: nothing answers, and Ctrl-C works."""
        self.c.kill()
        wait_for("it is gone", lambda: not [p for p in self.b.json_lines("peers", "--all") if p["id"] == self.c.id and p["connected"]])
        began = time.monotonic()
        with self.assertRaises(OSError) as e:
            os.open(self.carol / "echo", os.O_RDWR)
        self.assertEqual(e.exception.errno, errno.EHOSTUNREACH)
        self.prompt("open, the peer's machine refuses: EHOSTUNREACH", [time.monotonic() - began], 1.0)
        self.lab.cable(3, False)
        try:
            self.interrupt("open, nothing answers", open_it, self.carol / "echo")
        finally:
            self.lab.cable(3, True)
        self.c.start()
        wait_for("the open dials it again", lambda: self.opens(self.carol / "echo"))

    @staticmethod
    def opens(path):
        try:
            os.close(os.open(path, os.O_RDWR))
        except OSError:
            return False
        return True

    def broken(self, path, kill, what):
        """Streams in every state; `kill` breaks them. All are told."""
        path = path / "echo"
        fds = [os.open(path, os.O_RDWR) for _ in range(2)]
        for fd in fds:
            os.write(fd, b"x")
            self.assertEqual(os.read(fd, 1), b"x")
        errors = {}

        def note(name, call):
            try:
                errors[name] = call()
            except OSError as e:
                errors[name] = errno.errorcode[e.errno]

        poll = select.poll()
        poll.register(fds[1], select.POLLIN)
        threads = [threading.Thread(target=note, args=("read", lambda: os.read(fds[0], 1))),
                   threading.Thread(target=note, args=("poll", lambda: poll.poll(30000)[0][1]))]
        for t in threads:
            t.start()
        wait_for("the read waits", lambda: waiting(self.b))
        began = time.monotonic()
        kill()
        for t in threads:
            t.join(30)
        self.prompt(f"{what}: a read and a poll hear it", [time.monotonic() - began], 1.0)
        note("write", lambda: os.write(fds[1], b"y"))
        self.assertEqual(errors["read"], "ECONNRESET")
        self.assertTrue(errors["poll"] & (select.POLLIN | select.POLLHUP), "poll() tells")
        self.assertIn(errors["write"], ("EPIPE", "ECONNRESET"))
        for fd in fds:
            os.close(fd)

    def test_peer_killed(self):
        self.broken(self.carol, self.c.kill, "the peer is killed")
        self.c.start()
        wait_for("it is back", lambda: self.opens(self.carol / "echo"))

    def test_peer_stopped(self):
        """Nothing breaks: it waits, and goes on when the peer does."""
        with open(self.carol / "echo", "r+b", buffering=0) as stream:
            self.c.signal(signal.SIGSTOP)
            try:
                stream.write(b"held up")
                pids = [child(lambda: stream.read(1))]
                wait_for("the read waits", lambda: set(pids) <= waiting(self.b))
                self.prompt("SIGINT on read, the peer is stopped", end(pids, signal.SIGINT))
            finally:
                self.c.signal(signal.SIGCONT)
            self.assertEqual(stream.read(100), b"held up")

    def test_node_killed(self):
        """Our own: the mount is dead for those who had streams; the next start has everything again."""
        fd = os.open(self.alice / "echo", os.O_RDWR)
        dial = subprocess.Popen(self.lab.enter(2) + [P2P, "dial", "alice/echo"], env=self.b.env, stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        dial.stdin.write(b"x")
        dial.stdin.flush()
        self.assertEqual(dial.stdout.read(1), b"x")
        pid = child(lambda: os.read(fd, 1))
        wait_for("the read waits", lambda: pid in waiting(self.b))
        began = time.monotonic()
        self.b.kill()
        _, status = os.waitpid(pid, 0)
        self.assertIn(os.waitstatus_to_exitcode(status), (errno.ECONNABORTED, errno.ENOTCONN))
        self.assertEqual(dial.wait(10), 4, "p2p dial: broken")
        self.prompt("our node is killed: a read and p2p dial end", [time.monotonic() - began], 1.0)
        dial.stdin.close()
        dial.stdout.close()
        with self.assertRaises(OSError):
            os.close(fd)  # the mount is dead
        wait_for("alice has no stream of ours", lambda: not self.a.json_lines("streams"))
        self.b.start()
        wait_for("streams again", lambda: self.opens(self.alice / "echo"))
        self.b.run("connect", self.c.address())

    def test_target_resets(self):
        fd = os.open(self.alice / "reset", os.O_RDWR)
        os.write(fd, b"x")
        with self.assertRaises(ConnectionResetError):
            os.read(fd, 1)
        os.close(fd)
        p = subprocess.run(self.lab.enter(2) + [P2P, "dial", "alice/reset"], env=self.b.env, input=b"x", capture_output=True, timeout=20)
        self.assertEqual(p.returncode, 4, p.stderr)

    def test_no_longer_allowed(self):
        """man p2p: its streams end."""
        self.a.run("offer", "-a", self.b.id, "--", "brief", "echo")
        fd = os.open(self.alice / "brief", os.O_RDWR)
        os.write(fd, b"x")
        self.assertEqual(os.read(fd, 1), b"x")
        self.a.run("offer", "brief", "-d", self.b.id)
        with self.assertRaises(ConnectionResetError):
            os.read(fd, 1)
        os.close(fd)
        with self.assertRaises(PermissionError):
            os.open(self.alice / "brief", os.O_RDWR)
        self.a.run("offer", "brief", "--remove")

    # ---- ends ----

    def test_half_close(self):
        """Each side ends while 5 MiB still come the other way; by socket and by command."""
        target, sock = self.targets["both"], self.sock
        want = hashlib.sha256(b"".join(bytes([i]) * 65536 for i in range(80))).hexdigest()
        sent = b"".join(pattern(5 * MIB))
        with socket.socket(socket.AF_UNIX) as s:  # we end first, before anything was read
            s.settimeout(30)
            s.connect(sock)
            s.shutdown(socket.SHUT_WR)
            got = hashlib.sha256()
            while p := s.recv(65536):
                got.update(p)
        self.assertEqual(got.hexdigest(), want)
        self.assertEqual(target.stdout.readline().strip(), hashlib.sha256(b"").hexdigest())
        with socket.socket(socket.AF_UNIX) as s:  # they end first, and everything that is sent after it arrives
            s.settimeout(30)
            s.connect(sock)
            got = hashlib.sha256()
            while p := s.recv(65536):
                got.update(p)
            s.sendall(sent)
        self.assertEqual(got.hexdigest(), want)
        self.assertEqual(target.stdout.readline().strip(), hashlib.sha256(sent).hexdigest())
        out = self.use(P2P, "dial", "alice/both", input=sent)
        self.assertEqual(hashlib.sha256(out).hexdigest(), want)
        self.assertEqual(target.stdout.readline().strip(), hashlib.sha256(sent).hexdigest())

    def test_program_that_takes_no_input(self):
        """It has ended before what is sent to it arrives; what it said arrives all the same."""
        self.offer("words", "exec", "/bin/sh", "-c", "exec <&-; echo words; head -c 600000 /dev/zero")
        for _ in range(5):
            fd = os.open(self.alice / "words", os.O_RDWR)
            os.write(fd, b"ignored")
            got = b""
            while p := os.read(fd, MIB):
                got += p
            os.close(fd)
            self.assertEqual((got[:6], len(got)), (b"words\n", 600006))
        self.a.run("offer", "words", "--remove")

    def test_program_that_left_a_flood(self):
        """What goes on to come for a program that has gone is not taken for ever."""
        fd = os.open(self.alice / "trickle", os.O_RDONLY)
        self.assertEqual(os.read(fd, 1), b"x")
        os.close(fd)
        self.assertEqual(len(self.b.json_lines("streams")), 1)
        began = time.monotonic()
        wait_for("it is given up", lambda: not self.b.json_lines("streams"), 20)
        rows.append(f"{'a stream whose program has gone, and the peer still sends: ends':70}after {time.monotonic() - began:.1f} s")

    # ---- a reader that is stuck ----

    def test_stuck_reader(self):
        """One takes nothing of a flood for as long as all this lasts: other streams, blocks and the mount go on at their speed."""
        (self.a.mount / "share/file").write_bytes(b"".join(pattern(8 * MIB, "blocks")))
        cid = self.a.cid(self.a.mount / "share/file")
        fds = [os.open(self.alice / "flood", os.O_RDONLY) for _ in range(8)]
        wait_for("it is full", lambda: self.full())
        began = time.monotonic()
        self.assertEqual((self.b.mount / "ipfs" / cid).read_bytes(), (self.a.mount / "share/file").read_bytes())
        took = []
        fd = self.echo(b"")
        for _ in range(50):
            start = time.monotonic()
            os.write(fd, b"x")
            os.read(fd, 1)
            took.append(time.monotonic() - start)
        os.close(fd)
        self.prompt("eight stuck readers: a round trip of another stream", took, 0.010)
        start = time.monotonic()
        os.listdir(self.b.mount / "peers")
        self.prompt("eight stuck readers: ls", [time.monotonic() - start])
        rows.append(f"{'eight stuck readers: all of that, with 8 MiB of blocks':70}{ms(time.monotonic() - began)}")
        for fd in fds:
            self.assertEqual(len(os.read(fd, 100)), 100, "what came is there")
            os.close(fd)

    def full(self):
        """No byte moved between two looks."""
        def moved():
            return sum(s["bytes_in"] for s in self.b.json_lines("streams"))
        before = moved()
        time.sleep(0.1)
        return before and moved() == before


if __name__ == "__main__":
    unittest.main(verbosity=2)
