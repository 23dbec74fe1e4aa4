#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Streams as files of the mount: a service of one machine used on another with the shell, cat and poll."""
import errno, os, pathlib, select, signal, socket, subprocess, sys, threading, time, unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from lab import Lab, need, wait_for


def base58(data):
    letters, number, text = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz", int.from_bytes(data, "big"), ""
    while number:
        number, rest = divmod(number, 58)
        text = letters[rest] + text
    return "1" * (len(data) - len(data.lstrip(b"\0"))) + text


def met(*nodes):
    ids = [n.id for n in nodes]
    for n in nodes:
        wait_for(f"node {n.index} sees the others", lambda: all(i in n.peers() for i in ids if i != n.id), 30)


def offer(node, name, line, *allowed):
    """As a user does it: mkdir, echo, touch."""
    where = node.mount / "streams/offer" / name
    where.mkdir()
    (where / "ctl").write_text(line + "\n")
    for who in allowed:
        (where / "allow" / who).touch()
    return where


def offered(node, peer, name):
    where = node.mount / "peers" / peer.id / "streams"
    wait_for(f"{name} is offered", lambda: name in os.listdir(where))
    return where / name


class StreamFiles(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        need()
        cls.lab = Lab(3)
        cls.lab.__enter__()
        cls.a, cls.b, cls.c = cls.lab.node(1), cls.lab.node(2), cls.lab.node(3)
        met(cls.a, cls.b, cls.c)

    @classmethod
    def tearDownClass(cls):
        cls.lab.__exit__(None, None, None)

    def test_shell_reads_and_writes_one_description(self):
        offer(self.a, "echo", "echo", "any")
        path = offered(self.b, self.a, "echo")
        script = f'exec 3<>"{path}"; echo hello >&3; IFS= read -r -t 10 line <&3; echo "got $line"'
        self.assertEqual(subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=30).stdout, "got hello\n")

    def test_reader_waits_while_writer_writes(self):
        """A read that waits must not hold a write on the same description back."""
        offer(self.a, "echo2", "echo", "any")
        fd = os.open(offered(self.b, self.a, "echo2"), os.O_RDWR)
        got = []
        reader = threading.Thread(target=lambda: got.append(os.read(fd, 100)))
        reader.start()
        wait_for("the read waits", lambda: "echo2" in (self.b.mount / ".p2p/waiting").read_text())
        os.write(fd, b"now")
        reader.join(10)
        self.assertEqual(got, [b"now"])
        os.close(fd)

    def test_cat_of_a_file_and_of_a_program(self):
        source = self.lab.dir / "text"
        source.write_bytes(os.urandom(3_000_000))
        offer(self.a, "file", f"file {source}", "any")
        offer(self.a, "date", "exec /bin/echo one two", "any")
        self.assertEqual(offered(self.b, self.a, "file").read_bytes(), source.read_bytes())
        cat = subprocess.run(["cat", offered(self.b, self.a, "date")], capture_output=True, text=True, timeout=30)
        self.assertEqual(cat.stdout, "one two\n")
        copy = self.lab.dir / "copy"
        subprocess.run(["cp", offered(self.b, self.a, "file"), copy], check=True, timeout=30)
        self.assertEqual(copy.read_bytes(), source.read_bytes())

    def test_live(self):
        feed = os.open(self.a.mount / "streams/live/cam", os.O_WRONLY | os.O_CREAT)
        (self.a.mount / "streams/offer/cam/allow/any").touch()
        readers = [open(offered(n, self.a, "cam"), "rb", buffering=0) for n in (self.b, self.c)]
        os.write(feed, b"frame" * 100)
        for r in readers:
            got = b""
            while len(got) < 500:
                got += r.read(500)
            self.assertEqual(got, b"frame" * 100)
            r.close()
        os.close(feed)
        os.unlink(self.a.mount / "streams/live/cam")
        self.assertNotIn("cam", os.listdir(self.a.mount / "streams/offer"))

    def test_poll_and_nonblocking(self):
        offer(self.a, "echo3", "echo", "any")
        fd = os.open(offered(self.b, self.a, "echo3"), os.O_RDWR | os.O_NONBLOCK)
        with self.assertRaises(BlockingIOError):
            os.read(fd, 10)
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        self.assertEqual(poll.poll(100), [])
        poll.modify(fd, select.POLLOUT)
        self.assertTrue(poll.poll(5000)[0][1] & select.POLLOUT)
        os.write(fd, b"x" * 10)
        poll.modify(fd, select.POLLIN)
        self.assertTrue(poll.poll(5000)[0][1] & select.POLLIN, "poll was not woken")
        self.assertEqual(os.read(fd, 100), b"x" * 10)
        os.close(fd)

    def woken(self, ends, say):
        """Whether each of those that poll is woken by what `say` has the peer send."""
        def polls():
            rows = (self.b.mount / ".p2p/requests").read_text().splitlines()
            return sum(int(r.split("\t")[1]) for r in rows if r.startswith("poll\t"))

        def wait(fd):
            poll = select.poll()
            poll.register(fd, select.POLLIN)
            poll.poll()
        before = polls()
        threads = [threading.Thread(target=wait, args=(fd,), daemon=True) for fd in ends]
        for t in threads:
            t.start()
        wait_for("all of them wait", lambda: polls() >= before + len(ends))
        say()
        for t in threads:
            t.join(10)
        return [not t.is_alive() for t in threads]

    def test_those_that_poll_one_stream(self):
        """Who polls later is not in the way of one that polls already, nor is one that goes."""
        offer(self.a, "echo7", "echo", "any")
        with open(self.b.mount / "streams/clone", "r+b", buffering=0) as ctl:
            data = self.b.mount / "streams" / ctl.read(100).decode().strip() / "data"
            ctl.write(f"connect {self.a.id}/echo7".encode())
            ends = [os.open(data, os.O_RDWR | os.O_NONBLOCK) for _ in range(3)]
            self.assertEqual(self.woken(ends, lambda: os.write(ends[0], b"x")), [True] * 3)
            os.close(ends.pop())
            self.assertEqual(os.read(ends[0], 10), b"x")
            self.assertEqual(self.woken(ends, lambda: os.write(ends[1], b"y")), [True] * 2)
            for fd in ends:
                os.close(fd)

    def test_what_sets_times_and_sizes(self):
        """A stream has neither. A name can be looked up that nobody offers (peers do not tell what is there): touch fails then, too."""
        where = self.b.mount / "peers" / self.a.id / "streams"
        p = subprocess.run(["touch", where / "nobody-offers-this"], capture_output=True, text=True, env=dict(os.environ, LC_ALL="C"))
        self.assertEqual((p.returncode, p.stderr.split(": ")[-1]), (1, "Permission denied\n"))
        offer(self.a, "sizes", "echo", "any")
        path = offered(self.b, self.a, "sizes")
        with self.assertRaises(PermissionError):
            os.utime(path)
        with self.assertRaises(PermissionError):
            os.truncate(path, 5)
        self.assertEqual(subprocess.run(["bash", "-c", f'echo lost > "{path}"']).returncode, 0, "a shell's >")
        (self.a.mount / "streams/live/touched").touch()
        self.assertIn("touched", os.listdir(self.a.mount / "streams/offer"))
        os.unlink(self.a.mount / "streams/live/touched")
        (self.a.mount / "streams/offer/sizes/allow/any").touch()

    def test_a_listing_is_of_now(self):
        """A stream that was opened is listed when the open has returned, on the side that opened it."""
        offer(self.a, "now", "echo", "any")
        path = offered(self.b, self.a, "now")
        streams = self.b.mount / "streams"
        numbers = lambda: {n for n in os.listdir(streams) if n.isdigit()}
        fds = []
        for _ in range(20):
            before = numbers()
            fds.append(os.open(path, os.O_RDWR))
            new = numbers() - before
            self.assertEqual(len(new), 1)
            self.assertIn("\nservice\tnow\n", (streams / new.pop() / "status").read_text())
        for fd in fds:
            os.close(fd)

    def test_a_peer_that_is_not_known(self):
        """Any id can be dialed, as by `p2p dial`, and says what became of it; what is no id is not there. An id as a CID is the same peer."""
        peers = self.b.mount / "peers"
        nobody = base58(b"\0\x24\x08\x01\x12\x20" + bytes(range(32)))
        self.assertNotIn(nobody, os.listdir(peers))
        self.assertEqual(sorted(os.listdir(peers / nobody)), ["ctl", "ping", "streams"])
        self.assertEqual(os.listdir(peers / nobody / "streams"), [])
        with self.assertRaises(OSError) as fault:
            open(peers / nobody / "streams/echo", "rb+", 0)
        self.assertEqual(fault.exception.errno, errno.EHOSTUNREACH)
        self.assertEqual(self.b.run("dial", nobody, "echo", check=False).returncode, 4)
        with self.assertRaises(OSError) as fault:
            open(peers / nobody / "ping")
        self.assertEqual(fault.exception.errno, errno.EHOSTUNREACH)
        for name in (nobody[:-2], nobody + "1", "12D3KooW", "1", "Qm", "k51qzi5uqu5dh", "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"):
            self.assertFalse((peers / name).exists(), name)
        for name in ("status", "ledger", "status.json", "none"):
            self.assertFalse((peers / nobody / name).exists(), name)
        offer(self.a, "known", "echo", "any")
        offered(self.b, self.a, "known")
        cid = self.b.json("dns", self.a.id)["name"].split(".")[0]
        self.assertEqual(os.readlink(peers / cid), self.a.id)
        fd = os.open(peers / cid / "streams/known", os.O_RDWR)
        self.addCleanup(os.close, fd)
        os.write(fd, b"by its CID")
        self.assertEqual(os.read(fd, 100), b"by its CID")

    def test_two_streams_to_one_service_are_apart(self):
        """One whose peer does not read is full; the other goes on."""
        listener = self.lab.popen(1, [sys.executable, "-c", LAZY], stdout=subprocess.PIPE, text=True)
        port = listener.stdout.readline().strip()
        offer(self.a, "lazy", f"tcp 127.0.0.1:{port}", "any")
        path = offered(self.b, self.a, "lazy")
        full = os.open(path, os.O_RDWR)
        stuck = threading.Thread(target=self.fill, args=(full,), daemon=True)
        stuck.start()
        wait_for("the first one is full", lambda: "write" in (self.b.mount / ".p2p/waiting").read_text())
        other = os.open(path, os.O_RDWR)
        os.write(other, b"echo me")
        self.assertEqual(os.read(other, 100), b"echo me")
        os.close(other)
        listener.kill()
        stuck.join(20)
        self.assertFalse(stuck.is_alive(), "a writer whose peer has gone still waits")
        os.close(full)

    @staticmethod
    def fill(fd):
        try:
            while True:
                os.write(fd, bytes(1 << 20))
        except OSError:
            pass

    def test_only_who_is_allowed(self):
        where = offer(self.a, "private", "echo", self.b.id)
        offered(self.b, self.a, "private")
        self.assertNotIn("private", os.listdir(self.c.mount / "peers" / self.a.id / "streams"))
        with self.assertRaises(PermissionError):
            open(self.c.mount / "peers" / self.a.id / "streams/private", "rb")
        self.assertEqual(os.listdir(where / "allow"), [self.b.id])
        (where / "allow" / self.b.id).unlink()
        wait_for("it is no longer offered", lambda: "private" not in os.listdir(self.b.mount / "peers" / self.a.id / "streams"))
        where.rmdir()
        self.assertNotIn("private", os.listdir(self.a.mount / "streams/offer"))

    def test_petname_in_allow(self):
        os.symlink(self.b.id, self.a.mount / "peers/bob")
        where = offer(self.a, "forbob", "echo")
        os.symlink("../../../../peers/bob", where / "allow/bob")
        self.assertEqual(os.listdir(where / "allow"), ["bob"])
        self.assertEqual(os.readlink(where / "allow/bob"), f"../../../../peers/{self.b.id}")
        self.assertTrue((where / "allow/bob/status").read_text().startswith("id\t"))
        offered(self.b, self.a, "forbob")

    def test_interrupts(self):
        offer(self.a, "quiet", "echo", "any")
        path = offered(self.b, self.a, "quiet")
        for number in (signal.SIGINT, signal.SIGKILL):
            cat = subprocess.Popen(["cat", path], stdout=subprocess.DEVNULL)
            wait_for("it waits", lambda: f"\n{cat.pid}\t" in "\n" + (self.b.mount / ".p2p/waiting").read_text())
            began = time.monotonic()
            cat.send_signal(number)
            cat.wait(10)
            self.assertLess(time.monotonic() - began, 1.0)

    def test_errors(self):
        peers = self.b.mount / "peers"
        with self.assertRaises(PermissionError):
            open(peers / self.a.id / "streams/nothing", "rb")
        for name in (".hidden", "no blanks", "no%2Fescapes", "x" * 65):
            with self.assertRaises(FileNotFoundError):
                open(peers / self.a.id / "streams" / name, "rb")
        where = self.a.mount / "streams/offer/bad"
        where.mkdir()
        for line, number, words in (("tcp nowhere", errno.EINVAL, "'nowhere' is not an address"), ("fly me", errno.EINVAL, "'fly' is not a kind"),
                                    ("tcp 1\ntcp 2", errno.EINVAL, "one line a write"), ("exec /nonexistent/x", errno.ENOENT, "/nonexistent/x"),
                                    ("allow nobody-of-ours", errno.EINVAL, "neither a petname nor a peer id")):
            self.refused(self.a, "streams/offer/bad/ctl", line, number, words)
        where.rmdir()
        for line, words in (("tcp 2222", "PLACE PEER/SERVICE"), ("tcp 2222 alice", "PLACE PEER/SERVICE"),
                            (f"fly 2222 {self.b.id}/ssh", "'fly' is not a kind"), (f"tcp nowhere {self.b.id}/ssh", "'nowhere' is not an address"),
                            ("tcp 2222 nobody-of-ours/ssh", "neither a petname nor a peer id"), ("remove tcp 2222 3", "unforward")):
            self.refused(self.a, "streams/forward/ctl", line, errno.EINVAL, words)
        ctl = os.open(self.a.mount / "streams/clone", os.O_RDWR)
        number = os.pread(ctl, 100, 0).decode().strip()
        self.refused(self.a, f"streams/{number}/ctl", "dial home", errno.EINVAL, "the commands are: connect PEER/SERVICE")
        self.refused(self.a, f"streams/{number}/ctl", "connect nobody-of-ours/ssh", errno.EINVAL, "'nobody-of-ours' is neither a petname")
        os.close(ctl)
        self.refused(self.a, f"peers/{self.b.id}/ctl", "dance", errno.EINVAL, "a peer cannot 'dance'; the commands are: connect")
        with self.assertRaises(OSError) as e:
            os.mkdir(self.a.mount / "streams/x")
        self.assertEqual(e.exception.errno, errno.EPERM)

    def test_every_line_of_a_peers_ctl_is_taken(self):
        ctl = self.b.mount / "peers" / self.a.id / "ctl"
        lines = ctl.read_text().splitlines()
        self.assertEqual(lines[-2:], ["protect", "unprotect"])
        for line in lines:
            if line not in ("disconnect", "forget"): # others of this file are connected
                ctl.write_text(line)
        ctl.write_text("protect") # as friends are

    def test_petnames(self):
        peers = self.b.mount / "peers"
        os.symlink(self.a.id, peers / "alice")
        wait_for("the name is there", lambda: "alice" in os.listdir(peers))
        for name, target in (("me", self.b.id), ("any", self.a.id)):
            with self.assertRaises(OSError, msg=name) as e:
                os.symlink(target, peers / name)
            self.assertEqual(e.exception.errno, errno.EINVAL)
            self.assertNotIn(name, os.listdir(peers))
        with self.assertRaises(OSError):
            os.rename(peers / "alice", peers / "a b")
        events = (self.b.mount / ".p2p/events").read_text()
        for words in ("symlink any: 'any' cannot be a name", "symlink me: that is this node itself", "rename alice: a name has"):
            self.assertIn(f"\tname.refused\t{words}", events)
        os.rename(peers / "alice", peers / "ann")
        wait_for("the new name is there", lambda: "ann" in os.listdir(peers) and "alice" not in os.listdir(peers))
        self.b.run("ping", "-c", "1", "ann")
        os.unlink(peers / "ann")
        wait_for("the name is gone", lambda: "ann" not in os.listdir(peers))

    def refused(self, node, path, line, number, words):
        """By errno, and by a sentence in the attribute and among the events."""
        with self.assertRaises(OSError, msg=line) as e:
            (node.mount / path).write_text(line)
        self.assertEqual(e.exception.errno, number, line)
        sentence = os.getxattr(node.mount / path, "user.p2p.error").decode()
        self.assertIn(words, sentence)
        self.assertTrue((node.mount / ".p2p/events").read_text().endswith(f"\tctl.refused\t{path}: {sentence}\n"))

    def test_sock(self):
        offer(self.a, "echo4", "echo", "any")
        path = offered(self.b, self.a, "echo4")
        target = os.readlink(f"{path}.sock")
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(20)
            s.connect(target)
            s.sendall(b"to the socket")
            s.shutdown(socket.SHUT_WR)
            got = b""
            while piece := s.recv(100):
                got += piece
        self.assertEqual(got, b"to the socket")

    def test_clone(self):
        offer(self.a, "echo5", "echo", "any")
        offered(self.b, self.a, "echo5")
        streams = self.b.mount / "streams"
        ctl = os.open(streams / "clone", os.O_RDWR)
        number = os.pread(ctl, 100, 0).decode().strip()
        with self.assertRaises(OSError) as e:
            open(streams / number / "data", "rb")
        self.assertEqual(e.exception.errno, errno.ENOTCONN)
        os.write(ctl, f"connect {self.a.id}/echo5\n".encode())
        data = os.open(streams / number / "data", os.O_RDWR)
        os.write(data, b"through a clone")
        self.assertEqual(os.read(data, 100), b"through a clone")
        wait_for("it is listed", lambda: self.a.id in (streams / number / "remote").read_text())
        self.assertIn("echo5", (streams / number / "status").read_text())
        os.close(data)
        os.close(ctl)
        wait_for("it is gone", lambda: number not in os.listdir(streams))

    def clone(self):
        """A descriptor of a new conversation, and its folder."""
        ctl = os.open(self.b.mount / "streams/clone", os.O_RDWR)
        self.addCleanup(os.close, ctl)
        return ctl, self.b.mount / "streams" / os.pread(ctl, 32, 0).decode().strip()

    def test_clone_hangs_up(self):
        """Who has its data open sees the end, too; then it can be connected again."""
        offer(self.a, "talk", "echo", "any")
        offered(self.b, self.a, "talk")
        ctl, stream = self.clone()
        os.write(ctl, f"connect {self.a.id}/talk".encode())
        for f in (stream / "data").open("r+b", buffering=0), (stream / "data").open("r+b", buffering=0):
            self.addCleanup(f.close)
        waits = self.lab.popen(2, ["cat", stream / "data"], stdout=subprocess.DEVNULL)
        wait_for("a read waits", lambda: f"\n{waits.pid}\t" in "\n" + (self.b.mount / ".p2p/waiting").read_text())
        os.write(ctl, b"hangup")
        self.assertEqual(waits.wait(10), 0)
        self.assertEqual(f.read(10), b"")
        with self.assertRaises(BrokenPipeError):
            f.write(b"x")
        os.write(ctl, f"connect {self.a.id}/talk".encode())
        with (stream / "data").open("r+b", buffering=0) as again:
            again.write(b"again")
            self.assertEqual(again.read(10), b"again")

    def test_clone_tells_at_once(self):
        """Where it leads, as soon as it is connected; why it was refused, by both names of its ctl."""
        offer(self.a, "where", "echo", "any")
        offered(self.b, self.a, "where")
        for _ in range(10):  # what is told of streams comes a few times a second
            ctl, stream = self.clone()
            with self.assertRaises(PermissionError):
                os.write(ctl, f"connect {self.a.id}/nothing-there".encode())
            for name in ("streams/clone", stream / "ctl"):
                self.assertIn(b"no such service, or does not allow", os.getxattr(self.b.mount / name, "user.p2p.error"))
            os.write(ctl, f"connect {self.a.id}/where".encode())
            self.assertIn(f"{self.a.id}/where", (stream / "remote").read_text())
            self.assertEqual((stream / "local").read_text(), "dial\n")
            with self.assertRaises(OSError) as e:
                os.getxattr(stream / "ctl", "user.p2p.error")
            self.assertEqual(e.exception.errno, errno.ENODATA, "the last line was carried out")

    def test_ages(self):
        """Of streams that were opened in the very turn in which they are told of, too."""
        offer(self.a, "young", "echo", "any")
        path = offered(self.b, self.a, "young")

        def row():
            for status in self.a.mount.glob("streams/*/status"):
                fields = dict(line.split("\t") for line in status.read_text().splitlines() if line.count("\t") == 1)
                if fields.get("service") == "young":
                    return fields
        for _ in range(4):
            with open(path, "r+b", buffering=0):
                self.assertLess(float(wait_for("it is told", row)["seconds"]), 60)
            wait_for("it ended", lambda: not row())

    def test_what_is_gone(self):
        """What is still held of an offer that was removed and of a stream that was hung up: ESTALE; by its path there is nothing."""
        where = offer(self.b, "passing", "echo")
        clone = os.open(self.b.mount / "streams/clone", os.O_RDWR)
        stream = self.b.mount / "streams" / os.read(clone, 32).decode().strip()
        paths = [where / "allow", where / "status", where / "ctl", where, stream / "status", stream / "remote", stream]
        held = [os.open(p, os.O_PATH) for p in paths]
        snapshot = os.open(where / "status", os.O_RDONLY)
        text = os.pread(snapshot, 4096, 0)
        os.close(clone)
        where.rmdir()

        def error_of(call, *args):
            try:
                call(*args)
            except OSError as e:
                return e.errno
            return 0
        for path, fd in zip(paths, held):
            wait_for(f"{path} is stale", lambda: error_of(os.stat, fd) == errno.ESTALE)  # attributes may be a second old
            self.assertEqual(error_of(os.stat, path), errno.ENOENT, path)
        self.assertEqual(error_of(os.listdir, f"/proc/self/fd/{held[3]}"), errno.ESTALE)
        self.assertEqual(os.pread(snapshot, 4096, 0), text, "what was open is a snapshot")
        for fd in held + [snapshot]:
            os.close(fd)

    def test_forward(self):
        offer(self.a, "echo6", "echo", "any")
        offered(self.b, self.a, "echo6")
        place = self.lab.dir / "forward.sock"
        forward = self.b.mount / "streams/forward"
        (forward / "ctl").write_text(f"unix {place} {self.a.id}/echo6\n")
        self.assertIn(str(place), (forward / "status").read_text())
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(20)
            s.connect(str(place))
            s.sendall(b"forwarded")
            self.assertEqual(s.recv(100), b"forwarded")
        (forward / "ctl").write_text(f"remove unix {place}\n")
        wait_for("it is gone", lambda: str(place) not in (forward / "status").read_text())


# reads nothing from its first connection, echoes on the others
LAZY = """
import socket
s = socket.socket(); s.bind(("127.0.0.1", 0)); s.listen(); print(s.getsockname()[1], flush=True)
first, _ = s.accept()
while True:
    c, _ = s.accept()
    c.sendall(c.recv(100))
"""

if __name__ == "__main__":
    unittest.main(verbosity=2)
