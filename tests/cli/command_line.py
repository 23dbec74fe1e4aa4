#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The command line as a user meets it: the built program, nodes without a mount on loopback, no other network."""
import contextlib, fcntl, hashlib, http.client, json, os, pathlib, pty, random, select, shutil, signal, socket, struct, subprocess
import stat, sys, tempfile, termios, time
import unittest

SOURCE = pathlib.Path(__file__).resolve().parents[2]
P2P = os.environ.get("P2P_BIN", str(SOURCE / "build" / "release" / "p2p"))
QUIET_CONFIG = "listen = /ip4/127.0.0.1/tcp/0\nmdns = no\ntimeout-read = 2s\n"
HELLO = "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"  # "hello world", IPIP-499


def absent(i):
    """The CID of a raw block that nobody has."""
    import base64
    digest = hashlib.sha256(f"absent {i} {os.getpid()}".encode()).digest()
    return "b" + base64.b32encode(b"\x01\x55\x12\x20" + digest).decode().lower().rstrip("=")


class Home:
    """A P2P_HOME with, perhaps, a running node."""

    def __init__(self, test, config=QUIET_CONFIG):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="p2p-cli-"))
        test.addCleanup(self.clean)
        (self.dir / "config").write_text(config)
        self.env = {k: v for k, v in os.environ.items() if k not in ("NOTIFY_SOCKET", "NO_COLOR")}
        self.env["P2P_HOME"] = str(self.dir)
        self.env["HOME"] = str(self.dir)

    def clean(self):
        if (self.dir / "run" / "control").exists():
            self.run("down")
        shutil.rmtree(self.dir, ignore_errors=True)

    def run(self, *args, stdin=None, cwd=None, timeout=120):
        return subprocess.run([P2P, *map(str, args)], env=self.env, capture_output=True, input=stdin if stdin is not None else b"",
                              cwd=cwd or self.dir, timeout=timeout)

    def ok(self, *args, **kw):
        p = self.run(*args, **kw)
        if p.returncode != 0:
            raise AssertionError(f"p2p {' '.join(map(str, args))}: exit {p.returncode}\n{p.stderr.decode(errors='replace')}")
        return p.stdout.decode()

    def up(self, *options):
        self.ok("up", "--no-mount", "--quiet", *options)
        return self

    def lines(self, *args):
        return [json.loads(line) for line in self.ok(*args, "--json").splitlines()]

    def request(self, method, target, body=None):
        c = http.client.HTTPConnection("p2p")
        c.sock = socket.socket(socket.AF_UNIX)
        c.sock.settimeout(30)
        c.sock.connect(str(self.dir / "run" / "control"))
        c.request(method, target, body)
        r = c.getresponse()
        data = r.read()
        c.close()
        return r.status, data


class Base(unittest.TestCase):
    maxDiff = None

    def fails(self, p, status, *words):
        text = p.stderr.decode(errors="replace")
        self.assertEqual(p.returncode, status, text)
        self.assertTrue(text.startswith("p2p: "), text)
        self.assertEqual(text.count("\n"), 1, f"one sentence: {text}")
        for word in words:
            self.assertIn(word, text)


class WithoutNode(Base):
    def test_usage(self):
        h = Home(self)
        self.fails(h.run("nonsense"), 2, "nonsense")
        self.fails(h.run("ls", "--nonsense"), 2, "--nonsense")
        self.fails(h.run("cat"), 2, "PATH")
        self.fails(h.run("down", "x"), 2, "'x'")
        self.fails(h.run("cat", "--offset"), 2, "--offset")
        self.fails(h.run("ping", "x", "--count", "0"), 2, "--count")
        self.assertEqual(h.run().returncode, 2)
        self.assertIn("p2p up [OPTION…] [DIR]", h.ok("up", "--help"))
        for command in [[]] + [[name] for name in {row.split("\t")[0] for row in h.ok("completion", "tables").splitlines()}]:
            self.assertLessEqual(max(map(len, h.ok(*command, "--help").splitlines())), 80, command)
        self.assertIn("p2p up", h.ok("help", "up"))
        self.fails(h.run("help", "nonsense"), 2, "no command 'nonsense'")
        self.assertEqual([line for line in h.ok("help").splitlines() if len(line) > 80], [])

    def test_every_command_says_that_no_node_runs(self):
        h = Home(self)
        for args in (["status"], ["add", "config"], ["get", HELLO], ["cat", HELLO], ["ls"], ["stat", HELLO], ["pin"], ["unpin", HELLO],
                     ["gc"], ["verify"], ["export", HELLO], ["import", "config"], ["peers"], ["connect", "x"], ["disconnect", "x"],
                     ["ping", "x"], ["limits"], ["waiting"], ["events"], ["bench"], ["down"]):
            self.fails(h.run(*args), 9, "not running", "p2p up")

    def test_cid(self):
        h = Home(self)
        (h.dir / "hello").write_text("hello world")
        self.assertEqual(h.ok("cid", "hello"), f"{HELLO}\t11\thello\n")
        self.assertEqual(h.ok("cid", "hello", "--base=k").split()[0][0], "k")
        self.assertEqual(h.ok("cid", "hello", "--profile=unixfs-v0-2015").split()[0], "Qmf412jQZiuVUtdgnB36FXFX7xg5V6KEbSJ4dpQuhkLyfD")
        (h.dir / "empty").mkdir()
        self.assertEqual(h.ok("cid", "empty").split()[0], "bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354")
        self.fails(h.run("cid", "gone"), 3, "gone")
        self.fails(h.run("cid", "hello", "--profile=x"), 2, "'x'")
        self.fails(h.run("cid", "hello", "--base=?"), 2, "'?'")
        p = h.run("cid", "hello", "gone")
        self.fails(p, 10, "gone")
        self.assertIn(HELLO, p.stdout.decode())
        os.mkfifo(h.dir / "pipe")
        (h.dir / "d").mkdir()
        os.mkfifo(h.dir / "d" / "pipe")
        self.fails(h.run("cid", "d"), 1, "neither a file nor a folder")

    def test_completion(self):
        h = Home(self)
        script = h.ok("completion", "bash")
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)
        words = subprocess.run(["bash", "-c", script + '\nCOMP_WORDS=(p2p ve) COMP_CWORD=1; _p2p; echo "${COMPREPLY[@]}"'],
                               capture_output=True, text=True, check=True).stdout.split()
        self.assertEqual(words, ["verify", "version"])
        for command, files in (("add", True), ("cat", True), ("up", True), ("limits", False), ("connect", False), ("status", False)):
            out = subprocess.run(["bash", "-c", f"compopt() {{ echo files; }}\n{script}\nCOMP_WORDS=(p2p {command} '') COMP_CWORD=2; _p2p"],
                                 capture_output=True, text=True, check=True).stdout
            self.assertEqual(out, "files\n" if files else "", f"{command}: names of files are operands only of some")
        for shell in ("zsh", "fish"):
            if shutil.which(shell):
                subprocess.run([shell, "-n", "/dev/stdin"], input=h.ok("completion", shell), text=True, check=True)
        self.fails(h.run("completion", "csh"), 2, "csh")

    def test_config(self):
        h = Home(self)
        self.assertIn("quota\t", h.ok("config"))
        h.ok("config", "upload-limit", "2M")
        self.assertEqual(h.ok("config", "upload-limit").strip(), "2M")
        self.assertIn("timeout-read = 2s", (h.dir / "config").read_text(), "the other lines stay")
        before = (h.dir / "config").read_bytes()
        self.fails(h.run("config", "upload-limit", "fast"), 2, "upload-limit")
        self.fails(h.run("config", "nonsense", "1"), 2, "nonsense")
        self.fails(h.run("config", "listen", "/x"), 2, "listen", "'/x'")
        self.fails(h.run("config", "mount", "relative/x"), 2, "mount", "'relative/x'")
        self.fails(h.run("up", "--no-mount", "-o", "listen=/ip4/127.0.0.1/udp/1"), 2, "listen")
        self.fails(h.run("up", "--no-mount", "-o", "nonsense=1"), 2, "nonsense")
        self.assertEqual((h.dir / "config").read_bytes(), before, "a refused value changes nothing")
        h.ok("config", "--unset", "upload-limit")
        self.assertEqual(h.ok("config", "upload-limit").strip(), "none")
        (h.dir / "config").write_text("quota = 1G\nquota two\n")
        self.fails(h.run("config"), 2, str(h.dir / "config"), "2")
        self.fails(h.run("up", "--no-mount"), 2, str(h.dir / "config"), "2")
        self.assertFalse((h.dir / "state").exists(), "a bad config is refused before anything is made")

    def test_doctor(self):
        p = Home(self).run("doctor", "--json")
        checks = {row["check"]: row for row in map(json.loads, p.stdout.decode().splitlines())}
        self.assertEqual(checks["config"]["verdict"], "good")
        self.assertEqual(checks["node"]["verdict"], "warning")

    def test_output_that_cannot_be_written(self):
        h = Home(self)
        with open("/dev/full", "wb") as full:
            p = subprocess.run([P2P, "config"], env=h.env, stdout=full, stderr=subprocess.PIPE)
        self.fails(p, 8, "cannot write")

    def test_up_says_why_it_cannot_write(self):
        """At once, with the reason, and the node works."""
        h = Home(self)
        with open("/dev/full", "wb") as full:
            p = subprocess.Popen([P2P, "up", "--foreground", "--no-mount"], env=h.env, stdout=full, stderr=subprocess.PIPE)
        self.addCleanup(p.kill)
        self.assertTrue(any(b"cannot write the answer: the disk is full" in line for line in p.stderr))
        h.ok("status")
        h.ok("down")
        p.communicate(timeout=30)
        self.assertEqual(p.returncode, 0)


class Strangers(Base):
    @unittest.skipUnless(os.geteuid() == 0, "needs root: two users")
    def test_a_socket_of_another_user_gets_nothing(self):
        """/tmp is anybody's: who makes the folder first must not be told what the node would be."""
        h = Home(self)
        run = pathlib.Path(tempfile.mkdtemp(prefix="p2p-run-"))
        self.addCleanup(shutil.rmtree, run, ignore_errors=True)
        (run / "p2p").mkdir()
        for p in (h.dir, run, run / "p2p"):
            p.chmod(0o777)
        with socket.socket(socket.AF_UNIX) as s:
            s.bind(str(run / "p2p" / "control"))
            s.listen(4)
            (run / "p2p" / "control").chmod(0o777)
            os.chown(run / "p2p" / "control", 1, 1)
            env = {"HOME": str(h.dir), "XDG_RUNTIME_DIR": str(run), "PATH": os.environ["PATH"]}
            (h.dir / "secret").write_text("secret")
            (h.dir / "secret").chmod(0o644)
            listener = os.fork()
            if listener == 0: # the credentials of a listening socket are those of listen()
                os.setresuid(1, 1, 1)
                s.listen(4)
                os.kill(os.getpid(), signal.SIGSTOP)
                os._exit(0)
            os.waitpid(listener, os.WUNTRACED)
            try:
                p = subprocess.run([P2P, "add", "secret"], env=env, capture_output=True, cwd=h.dir, timeout=30)
                self.fails(p, 6, "another user's")
                s.settimeout(5)
                c, _ = s.accept()
                self.assertEqual(c.recv(100), b"")
            finally:
                os.kill(listener, signal.SIGKILL)
                os.waitpid(listener, 0)


class State(Base):
    def test_two_states_with_one_run_folder(self):
        """Nodes of one user that differ in XDG_DATA_HOME alone: the second does not take the first one's socket away."""
        h = Home(self)
        del h.env["P2P_HOME"]
        h.env.update(XDG_RUNTIME_DIR=str(h.dir), XDG_CONFIG_HOME=str(h.dir))
        (h.dir / "p2p").mkdir()
        (h.dir / "p2p" / "config").write_text(QUIET_CONFIG)
        h.env["XDG_DATA_HOME"] = str(h.dir / "one")
        h.up()
        first = json.loads(h.ok("status", "--json"))["id"]
        h.env["XDG_DATA_HOME"] = str(h.dir / "two")
        self.fails(h.run("up", "--no-mount"), 1, str(h.dir / "p2p"), "another node", "P2P_HOME")
        self.assertEqual(json.loads(h.ok("status", "--json"))["id"], first)
        h.env["XDG_DATA_HOME"] = str(h.dir / "one")
        h.ok("down")

    def test_two_nodes_on_one_state(self):
        h = Home(self).up()
        self.fails(h.run("up", "--no-mount"), 1, "another node", str(h.dir))
        self.assertEqual(h.run("status").returncode, 0)

    def test_newer_state_is_refused_untouched(self):
        h = Home(self).up()
        h.ok("down")
        (h.dir / "state" / "version").write_text("999\n")
        before = {p: p.stat().st_mtime_ns for p in (h.dir / "state").rglob("*")}
        self.fails(h.run("up", "--no-mount"), 1, "newer")
        self.assertEqual({p: p.stat().st_mtime_ns for p in (h.dir / "state").rglob("*")}, before)

    def test_bad_key(self):
        h = Home(self).up()
        h.ok("down")
        key = h.dir / "state" / "identity.key"
        self.assertEqual(key.stat().st_mode & 0o777, 0o600)
        key.chmod(0o644)
        self.fails(h.run("up", "--no-mount"), 6, "identity.key")
        key.chmod(0o600)
        good = key.read_bytes()
        key.write_bytes(good[:-1])
        self.fails(h.run("up", "--no-mount"), 2, "identity.key")
        self.assertEqual(key.read_bytes(), good[:-1], "it is left as it is")

    def test_bad_listen_address(self):
        h = Home(self)
        self.fails(h.run("up", "--no-mount", "-o", "listen=/ip4/300.0.0.1/tcp/1"), 2, "300.0.0.1")
        self.fails(h.run("up", "--no-mount", "-o", "nonsense"), 2, "nonsense")

    def test_notify_and_clean_end(self):
        h = Home(self)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
            s.bind(str(h.dir / "notify"))
            s.settimeout(30)
            p = subprocess.Popen([P2P, "up", "--foreground", "--no-mount"], env=dict(h.env, NOTIFY_SOCKET=str(h.dir / "notify")),
                                 stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            self.assertIn(b"READY=1", s.recv(4096))
            p.send_signal(signal.SIGTERM)
            self.assertIn(b"STOPPING=1", s.recv(4096))
            _, err = p.communicate(timeout=30)
        self.assertEqual(p.returncode, 0, err)
        self.assertFalse((h.dir / "run" / "control").exists())

    def test_log(self):
        h = Home(self, QUIET_CONFIG + "log-level = warn\n").up("-v")
        h.ok("limits", "upload", "1M")  # reads the config again
        h.ok("down")
        log = (h.dir / "state" / "log").read_text()
        self.assertIn(" info node.up id=", log)
        self.assertIn(" debug config read again", log)
        self.assertEqual(log.splitlines()[-1].split()[1:3], ["info", "node.down"])

    def test_kill_and_start_again(self):
        h = Home(self)
        p = subprocess.Popen([P2P, "up", "--foreground", "--no-mount", "-q"], env=h.env, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 30
        while h.run("status").returncode and time.monotonic() < end:
            time.sleep(0.05)
        (h.dir / "f").write_bytes(os.urandom(3 << 20))
        cid = h.ok("add", "f").split()[0]
        p.kill()
        p.wait()
        h.up()
        self.assertEqual(h.run("cat", cid).stdout, (h.dir / "f").read_bytes(), "what add answered for is there after kill -9")
        self.assertEqual(h.lines("verify")[-1]["problems"], 0)


class WithNode(Base):
    def setUp(self):
        self.h = Home(self).up()

    def make_tree(self):
        d = self.h.dir / "tree"
        (d / "sub" / "empty").mkdir(parents=True)
        (d / "a").write_bytes(b"")
        (d / "b").write_bytes(os.urandom(2500000))
        (d / "sub" / "ünïcode \t name").write_bytes(b"x" * 1048576)
        os.symlink("../b", d / "sub" / "link")
        with open(os.fsencode(d / "sub") + b"/latin\xe9", "wb") as f:
            f.write(b"a name that is not UTF-8")
        return d

    def same(self, a, b):
        p = subprocess.run(["diff", "-r", "--no-dereference", a, b], capture_output=True, text=True)
        self.assertEqual(p.returncode, 0, p.stdout + p.stderr)

    def test_symlinks_that_are_named(self):
        """They are followed; below a folder they stay what they are."""
        h, d = self.h, self.make_tree()
        for target in (d / "b", d, d / "sub" / "link"):
            link = h.dir / "named"
            link.symlink_to(target)
            self.assertEqual(h.ok("add", link).split()[0], h.ok("cid", target.resolve()).split()[0])
            self.assertEqual(h.ok("cid", link).split()[0], h.ok("add", target.resolve()).split()[0])
            link.unlink()
        link.symlink_to("nowhere")
        cid = h.ok("cid", link).split()[0]
        self.assertEqual(h.ok("add", link).split()[0], cid)
        self.assertEqual(json.loads(h.ok("stat", cid, "--json"))["target"], "nowhere")

    def test_standard_input(self):
        data = os.urandom(1500000)
        cids = {self.h.ok(verb, "-", stdin=data).split()[0] for verb in ("add", "cid")}
        (self.h.dir / "f").write_bytes(data)
        self.assertEqual(cids, {self.h.ok("cid", "f").split()[0]})

    def test_into_a_device(self):
        """What is no file is written into and stays what it is: a pipe, a device, also by a symlink."""
        h = self.h
        data = os.urandom(300000)
        (h.dir / "f").write_bytes(data)
        cid = h.ok("add", "f").split()[0]
        os.mkfifo(h.dir / "pipe")
        os.symlink("pipe", h.dir / "link")
        for verb, to in (("get", "pipe"), ("get", "link"), ("export", "pipe")):
            with open(h.dir / "got", "wb") as out, subprocess.Popen(["cat", h.dir / to], stdout=out):
                h.ok(verb, cid, "-o", to)
            got = (h.dir / "got").read_bytes()
            self.assertTrue(got == data if verb == "get" else data in got, verb)
        self.assertTrue(stat.S_ISFIFO(os.stat(h.dir / "pipe").st_mode))
        if os.geteuid() == 0:
            os.mknod(h.dir / "null", 0o666 | stat.S_IFCHR, os.stat("/dev/null").st_rdev)
            for args in (("get", cid), ("get", cid, "-f"), ("export", cid)):
                h.ok(*args, "-o", "null")
            self.assertTrue(stat.S_ISCHR(os.stat(h.dir / "null").st_mode))

    def test_life_of_a_tree(self):
        h, d = self.h, self.make_tree()
        cid = h.ok("add", d, "--name", "my tree").split()[0]
        self.assertEqual(h.ok("cid", d).split()[0], cid, "add and cid agree")
        self.assertEqual([(p["cid"], p["name"], p["state"]) for p in h.lines("pin")], [(cid, "my tree", "complete")])
        self.assertEqual({e["name"]: e["type"] for e in h.lines("ls", cid)}, {"a": "file", "b": "file", "sub": "directory"})
        self.assertEqual(h.run("cat", f"{cid}/b", "--offset=1M", "--length=100").stdout, (d / "b").read_bytes()[1 << 20:][:100])
        st = json.loads(h.ok("stat", f"/ipfs/{cid}/sub/link", "--json"))
        self.assertEqual((st["type"], st["target"]), ("symlink", "../b"))
        h.ok("get", cid, "-o", "copy")
        self.same(d, h.dir / "copy")
        self.fails(h.run("get", cid, "-o", "copy"), 1, "copy", "already")
        h.ok("export", cid, "-o", "tree.car")
        h.ok("unpin", cid)
        self.fails(h.run("unpin", cid), 3, "not pinned")
        self.assertGreaterEqual(json.loads(h.ok("gc", "--json"))["blocks"], 5)
        self.fails(h.run("cat", f"{cid}/b"), 4 if not json.loads(h.ok("status", "--json"))["online"] else 5)
        roots = h.lines("import", "tree.car")
        self.assertEqual(roots[0]["cid"], cid)
        h.ok("get", cid, "-o", "again")
        self.same(d, h.dir / "again")
        self.assertEqual(h.lines("verify")[-1]["problems"], 0)

    def test_sizes_around_the_chunk(self):
        for size in (0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 5 << 20):
            data = os.urandom(size)
            (self.h.dir / "f").write_bytes(data)
            cid = self.h.ok("add", "f").split()[0]
            self.assertEqual(self.h.ok("cid", "f").split()[0], cid)
            self.assertEqual(self.h.run("cat", cid).stdout, data)
        self.assertEqual(self.h.ok("add", "-", stdin=b"hello world").split()[0], HELLO)

    def test_big_folder(self):
        d = self.h.dir / "many"
        d.mkdir()
        for i in range(6000):
            (d / f"entry number {i:06}").touch()
        cid = self.h.ok("add", d).split()[0]
        self.assertEqual(self.h.ok("cid", d).split()[0], cid)
        rows = self.h.lines("ls", cid)
        self.assertEqual(sorted(r["name"] for r in rows), sorted(os.listdir(d)))

    def test_get_goes_on(self):
        h = self.h
        data = os.urandom(3 << 20)
        (h.dir / "f").write_bytes(data)
        cid = h.ok("add", "f").split()[0]
        part = h.dir / f".out.{cid[-12:]}.part"
        part.write_bytes(data[:1234567])
        h.ok("get", cid, "-o", "out")
        self.assertEqual((h.dir / "out").read_bytes(), data)
        self.assertFalse(part.exists())
        (h.dir / "out").write_bytes(b"old")
        h.ok("get", cid, "-o", "out", "--force")
        self.assertEqual((h.dir / "out").read_bytes(), data)

    def test_bad_input(self):
        h = self.h
        for path in ("", "nonsense", "bafy", HELLO[:-1], HELLO[:-1] + "1", "/ipfs/", "/ipfs/x/y", "share", "../x", "/etc/passwd"):
            p = h.run("cat", path)
            self.assertIn(p.returncode, (1, 2), (path, p.stderr))
            self.assertTrue(p.stderr.startswith(b"p2p: "), p.stderr)
        (h.dir / "bad.car").write_bytes(b"\x3a\xa2eroots\x81")
        self.fails(h.run("import", "bad.car"), 7, "bad.car: ", "byte")
        (h.dir / "f").write_bytes(os.urandom(100000))
        cid = h.ok("add", "f").split()[0]
        h.ok("export", cid, "-o", "good.car")
        car = bytearray((h.dir / "good.car").read_bytes())
        car[-1] ^= 1
        (h.dir / "bad.car").write_bytes(car)
        self.fails(h.run("import", "bad.car"), 7, "hash")
        (h.dir / "bad.car").write_bytes(car[:-10])
        self.fails(h.run("import", "bad.car"), 7, "byte")
        self.fails(h.run("connect", "/ip4/1.2.3.4/udp"), 2, "'/ip4/1.2.3.4/udp' is not an address")
        self.fails(h.run("connect", "/ip4/127.0.0.1/tcp/1"), 4, "cannot connect to /ip4/127.0.0.1/tcp/1")
        self.fails(h.run("disconnect", "12D3KooWMR8TVHfvTGVe8d4gHKRAwJHVPGFQy6Z4Kkb9kQodeAUn"), 3, "it is not connected")
        self.fails(h.run("ls", cid), 1, cid + " is not a directory")
        (h.dir / "folder").mkdir()
        folder = h.ok("add", "folder").split()[0]
        self.fails(h.run("cat", folder), 1, f"p2p: {folder} is a directory")
        self.assertEqual(h.ok("cat", cid, "--length=0"), "")
        self.fails(h.run("cat", "/ipfs/"), 2, "'/ipfs/' names no CID")
        self.fails(h.run("connect", "no peer"), 2, "no peer")
        for words in (["connect", "alice"], ["disconnect", "alice"], ["ping", "alice"]):
            self.fails(h.run(*words), 2, "'alice' is neither a petname nor a peer id. Try: p2p peers --all")
        self.fails(h.run("connect", "/ip4"), 2, "Try: p2p connect --help")
        self.fails(h.run("forward", "tcp", "2222", "alice/ssh"), 2, "'alice' is neither", "Try: p2p forward --help")
        self.fails(h.run("forward", "-r", "tcp", "2222"), 3, "Try: p2p forward\n")
        self.fails(h.run("offer", "-r", "none"), 3, "Try: p2p offer\n")
        self.fails(h.run("offer", "x", "fly"), 2, "'fly' is not a kind", "Try: p2p offer --help")
        self.fails(h.run("streams", "--hangup", "99"), 3, "Try: p2p streams\n")
        self.fails(h.run("limits", "nonsense", "1"), 2, "nonsense")
        self.fails(h.run("limits", "memory", "1"), 2, "memory")
        self.fails(h.run("stat", f"{cid}/x"), 1, "not a directory")

    def test_a_peer_that_was_never_seen(self):
        peer = "12D3KooWMR8TVHfvTGVe8d4gHKRAwJHVPGFQy6Z4Kkb9kQodeAUn"
        self.fails(self.h.run("connect", f"/ip4/127.0.0.1/tcp/1/p2p/{peer}"), 4)
        self.assertEqual([p.get("last_seen", "never") for p in self.h.lines("peers", "--all") if p["id"] == peer], ["never"])

    def test_absent_content_ends(self):
        h = self.h
        start = time.monotonic()
        p = h.run("cat", absent(1))
        self.assertIn(p.returncode, (4, 5), p.stderr)
        self.assertLess(time.monotonic() - start, 20)
        self.assertIn(absent(1), p.stderr.decode())

    def test_absent_folder(self):
        """What is asked for lies below what is not here."""
        h = self.h
        for command in ("cat", "ls", "stat", "get", "pin", "export"):
            p = h.run(command, absent(3) + "/x/y")
            self.assertIn(p.returncode, (4, 5), (command, p.stderr))
            self.assertIn(absent(3), p.stderr.decode(), command)
        h.ok("status")

    def test_interrupt(self):
        h = self.h
        h.ok("config", "timeout-read", "60s")
        p = subprocess.Popen([P2P, "cat", absent(2)], env=h.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        end = time.monotonic() + 20
        while p.poll() is None and not any(r["pid"] == p.pid for r in h.lines("waiting")):
            self.assertLess(time.monotonic(), end, "it is listed as waiting")
            time.sleep(0.02)
        if p.poll() is not None:
            self.skipTest("no network: absent content is refused at once")
        start = time.monotonic()
        p.send_signal(signal.SIGINT)
        p.communicate(timeout=10)
        self.assertEqual(p.returncode, 130)
        self.assertLess(time.monotonic() - start, 1)
        while any(r["pid"] == p.pid for r in h.lines("waiting")):
            self.assertLess(time.monotonic(), end, "the node has dropped it")
            time.sleep(0.02)

    def test_interrupt_while_the_reader_stops(self):
        (self.h.dir / "f").write_bytes(os.urandom(3 << 20))  # more than the pipe and what is on the way to it
        cid = self.h.ok("add", "f").split()[0]
        for verb in "cat", "export":
            with subprocess.Popen([P2P, verb, cid], env=self.h.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as p:
                end = time.monotonic() + 20
                while "pipe_write" not in pathlib.Path(f"/proc/{p.pid}/wchan").read_text():
                    self.assertLess(time.monotonic(), end, "it waits for the reader")
                    time.sleep(0.02)
                p.send_signal(signal.SIGINT)
                try:
                    self.assertEqual(p.wait(10), 130, verb)
                finally:
                    p.kill()

    def test_limits_take_effect_and_stay(self):
        h = self.h
        h.ok("limits", "quota", "1G")
        h.ok("limits", "memory", "64M")
        rows = {r["name"]: r["value"] for r in h.lines("limits")}
        self.assertTrue(all(isinstance(r["used"], int) for r in h.lines("limits")), "JSON has bytes")
        self.assertEqual([line.split("\t")[:2] for line in h.ok("limits", "quota").splitlines()], [["quota", "1G"]])
        parts = [r["name"] for r in h.lines("limits", "memory")]
        self.assertTrue(parts[0] == "memory" and len(parts) > 2 and all(p.startswith("memory") for p in parts), parts)
        self.fails(h.run("limits", "mem"), 2, "there is no limit 'mem'", "Try: p2p limits")
        self.assertTrue(all(line.split("\t")[2].isdigit() for line in h.ok("limits").splitlines()), "so has a pipe")
        self.assertEqual((rows["quota"], rows["memory"]), ("1G", "64M"))
        h.ok("down")
        h.up()
        self.assertEqual({r["name"]: r["value"] for r in h.lines("limits")}["quota"], "1G")

    def test_terminal(self):
        """On a terminal: a header and IEC sizes."""
        h = self.h
        (h.dir / "tree").mkdir()
        (h.dir / "tree" / "f\x1b[31m").write_bytes(b"x" * 5000000)
        cid = h.ok("add", h.dir / "tree").split()[0]
        master, slave = pty.openpty()
        p = subprocess.Popen([P2P, "ls", cid], env=dict(h.env, NO_COLOR="1"), stdout=slave, stderr=slave, stdin=slave)
        p.wait(30)
        os.close(slave)
        text = b""
        with contextlib.suppress(OSError):
            while select.select([master], [], [], 1)[0]:
                got = os.read(master, 65536)
                if not got:
                    break
                text += got
        os.close(master)
        self.assertTrue(text.startswith(b"type"), text)
        self.assertIn(b"4.77 MiB", text)
        self.assertNotIn(b"\x1b", text, "escape sequences in names do not reach the terminal")

    def on_terminal(self, *args, columns, feed=lambda: False, h=None, status=0):
        """What the command writes to a terminal so wide; feed() is called now and then until it says False."""
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        h = h or self.h
        p = subprocess.Popen([P2P, *map(str, args)], env=dict(h.env, NO_COLOR="1"), stdout=slave, stderr=slave, stdin=slave, cwd=h.dir)
        os.close(slave)
        text, feeding = b"", True
        while True:
            feeding = feeding and feed()
            if select.select([master], [], [], 0.05 if feeding else 30)[0]:
                try:
                    got = os.read(master, 65536)
                except OSError:  # the other end is closed
                    break
                if not got:
                    break
                text += got
        os.close(master)
        self.assertEqual(p.wait(30), status, text)
        return text

    def test_empty_lists(self):
        """Nothing is there: a terminal gets the header, so that one sees that it was an answer; a pipe and JSON get nothing."""
        for words, title in ((["peers"], b"peer"), (["waiting"], b"pid"), (["offer"], b"service"), (["streams"], b"stream")):
            text = self.on_terminal(*words, columns=200)
            self.assertTrue(text.startswith(title), text)
            self.assertEqual(text.count(b"\n"), 1, text)
            self.assertEqual(self.on_terminal(*words, "-q", columns=200), b"")
            self.assertEqual(self.on_terminal(*words, "--json", columns=200), b"")
            self.assertEqual(self.h.ok(*words), "")

    def test_what_waits_says_so(self):
        """Nobody has it: who looks at a terminal sees what it waits for, from the first request on."""
        h = Home(self, config=QUIET_CONFIG.replace("2s", "4s") + "timeout-metadata = 4s\n").up()
        gone = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"
        for words in (["get", gone], ["stat", gone], ["ls", gone]):
            text = self.on_terminal(*words, columns=200, h=h, status=5)
            self.assertIn(b"  0 B  waiting for ", text, words)

    def test_progress_is_one_line(self):
        """A name longer than the terminal: what is drawn can be drawn over."""
        h = self.h
        (h.dir / "f").write_bytes(os.urandom(1 << 20))
        cid = h.ok("add", "f").split()[0]
        car, name = h.run("export", cid).stdout, "a-long-name-" * 12 + ".car"
        os.mkfifo(h.dir / name)
        out = None
        sent = 0

        def feed():
            nonlocal out, sent
            if out is None:
                out = open(h.dir / name, "wb", buffering=0)
            piece = car[sent:sent + len(car) // 40 + 1]
            out.write(piece)
            sent += len(piece)
            if sent == len(car):
                out.close()
                return False
            return True

        text = self.on_terminal("import", name, columns=60, feed=feed)
        drawn = [s for s in text.split(b"\r\x1b[K")[1:] if b"KiB" in s and b".car" in s.split(b"\r\n")[0]]
        self.assertTrue(drawn, text)
        for s in drawn[:-1]:
            self.assertLess(len(s.decode()), 60, s)
            self.assertNotIn(b"\n", s)

    def test_wide_tables(self):
        h = self.h
        lines = self.on_terminal("config", columns=80).decode().split("\r\n")
        for line in lines:
            if "tumblerd" not in line: # one value longer than any terminal
                self.assertLessEqual(len(line), 80, line)
        (h.dir / "tree").mkdir()
        (h.dir / "tree" / "a file with quite a long name").write_bytes(b"x")
        tree = h.ok("add", "tree").split()[0]
        lines = self.on_terminal("ls", tree, columns=80).decode().split("\r\n")
        self.assertIn("    a file with quite a long name", lines)
        lines = self.on_terminal("ls", tree, columns=120).decode().split("\r\n")
        self.assertEqual(len(lines), 3, lines)

    def test_events_follow(self):
        p = subprocess.Popen([P2P, "events", "--follow", "--json"], env=self.h.env, stdout=subprocess.PIPE, text=True)
        while json.loads(p.stdout.readline())["kind"] != "node.up":
            pass  # another node of this machine may have the DNS port
        self.h.ok("limits", "quota", "2G")
        while json.loads(p.stdout.readline())["kind"] != "config":
            pass
        p.send_signal(signal.SIGINT)
        self.assertEqual(p.wait(10), 130)
        p.stdout.close()

    def test_reload(self):
        h = self.h
        self.assertEqual(h.run("config", "mdns", "no").stderr, b"")
        self.assertIn(b"listen", h.run("config", "listen", "/ip4/127.0.0.1/tcp/0", ).stderr + b"listen")
        p = h.run("config", "quiet", "x")
        self.assertIn(b"quiet", p.stderr, "an option that needs a restart says so")


class Control(Base):
    def test_malformed_requests(self):
        h = Home(self).up()
        for method, target in (("GET", "/v1/nonsense"), ("GET", "/v1/cat"), ("POST", "/v1/cat?path=" + HELLO), ("GET", "/v1/cat?path=%"),
                               ("GET", "/v1/cat?path=x&offset=-1"), ("GET", "/v1/ls?path=" + HELLO + "&limit=0"),
                               ("POST", "/v1/add/77/data"), ("POST", "/v1/add/"), ("POST", "/v1/import/1/end"), ("POST", "/v1/limits"),
                               ("POST", "/v1/connect"), ("GET", "/v1/failures/x")):
            status, body = h.request(method, target)
            self.assertGreaterEqual(status, 400, target)
            self.assertIn("message", json.loads(body), target)
        status, body = h.request("POST", "/v1/add")
        upload = json.loads(body)["upload"]
        for op in ("data", "up", "finish", "nonsense", "link?name=x", "dir?name=a", "dir?name=a/b", "dir", "file?name=..", "finish"):
            status, body = h.request("POST", f"/v1/add/{upload}/{op}", b"x")
            self.assertEqual(status >= 400, op != "dir?name=a", op)

    def test_random_requests(self):
        """Mutated requests: the node answers or hangs up, and lives."""
        h = Home(self).up()
        rng = random.Random(7)
        seeds = [b"GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n", b"POST /v1/add HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc",
                 b"GET /v1/cat?path=" + HELLO.encode() + b"&offset=1 HTTP/1.1\r\n\r\n", b"POST /v1/import HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
                 b"POST /v1/import/1 HTTP/1.1\r\nContent-Length: 20\r\n\r\n\x11\xa2eroots\x80gversion\x01",
                 b"POST /v1/add/1/file?name=a&end=1 HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello",
                 b"POST /v1/add/1/dir?name=a HTTP/1.1\r\nContent-Length: 0\r\n\r\n", b"POST /v1/add/1/up HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
                 b"POST /v1/connect?peer=/ip4/127.0.0.1/tcp/1 HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
                 b"POST /v1/pin?path=" + HELLO.encode() + b"&wait=1 HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
                 b"GET /v1/ls?path=share/x&resolve=1 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"]
        for i in range(1500):
            data = bytearray(rng.choice(seeds) + (rng.choice(seeds) if rng.random() < 0.3 else b""))
            for _ in range(rng.randrange(4)):
                at = rng.randrange(len(data))
                data[at:at + rng.randrange(3)] = bytes(rng.randrange(256) for _ in range(rng.randrange(3)))
            if b"shutdown" in data:
                continue
            with socket.socket(socket.AF_UNIX) as s:
                s.settimeout(10)
                s.connect(str(h.dir / "run" / "control"))
                with contextlib.suppress(OSError):
                    s.sendall(data)
                    if rng.random() < 0.5:
                        s.shutdown(socket.SHUT_WR)
                        if rng.random() < 0.5:
                            s.recv(4096)
        self.assertEqual(json.loads(h.ok("status", "--json"))["state"].split(";")[0], "working")
        h.ok("down")
        log = (h.dir / "state" / "log").read_text(errors="replace")
        self.assertNotIn("Sanitizer", log)
        self.assertNotIn("runtime error", log)

    def test_connections_that_the_node_closes(self):
        """What comes for a new connection does not go to the one that had its descriptor before."""
        h = Home(self).up()
        for method, status in (("GET", 200), ("PUT", 501)) * 10:
            with socket.socket(socket.AF_UNIX) as s:
                s.settimeout(10)
                s.connect(str(h.dir / "run" / "control"))
                s.sendall(f"{method} /v1/version?x={'x' * 20000} HTTP/1.1\r\nConnection: close\r\n\r\n".encode())
                self.assertTrue(s.recv(1000).startswith(f"HTTP/1.1 {status}".encode()))
                while s.recv(1000):
                    pass

    def test_connections_that_clients_close(self):
        """Their descriptors go with them, not when somebody looks."""
        h, most = Home(self).up(), 0
        for i in range(100):
            with socket.socket(socket.AF_UNIX) as s:
                s.settimeout(10)
                s.connect(str(h.dir / "run" / "control"))
                s.sendall(b"GET /v1/version HTTP/1.1\r\n\r\n")
                self.assertTrue(s.recv(1000).startswith(b"HTTP/1.1 200"))
                node = struct.unpack("3i", s.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
                now = len(os.listdir(f"/proc/{node}/fd"))
                first = now if i == 0 else first
                most = max(most, now)
        self.assertLess(most, first + 10)

    def test_slow_reader_does_not_swell_the_node(self):
        h = Home(self).up()
        (h.dir / "f").write_bytes(os.urandom(1 << 20) * 64)
        cid = h.ok("add", "f").split()[0]
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(str(h.dir / "run" / "control"))
            s.sendall(f"GET /v1/cat?path={cid} HTTP/1.1\r\n\r\n".encode())
            s.recv(1024)
            for _ in range(5):
                self.assertEqual(h.request("GET", "/v1/status")[0], 200)
        self.assertEqual(h.request("GET", "/v1/status")[0], 200)


class TwoNodes(Base):
    def test_fetch(self):
        a, b = Home(self).up(), Home(self).up()
        data = os.urandom(20 << 20)
        (a.dir / "f").write_bytes(data)
        cid = a.ok("add", "f").split()[0]
        address = next(x for x in json.loads(a.ok("status", "--json"))["addresses"] if "/ip4/127.0.0.1/" in x)
        b.ok("connect", address)
        start = time.monotonic()
        for _ in range(20):  # nothing changes: there is nothing to wait for
            b.ok("connect", address)
        self.assertLess(time.monotonic() - start, 10)
        ida = json.loads(a.ok("status", "--json"))["id"]
        self.assertEqual([p["id"] for p in b.lines("peers")], [ida])
        self.assertEqual(b.run("cat", cid).stdout, data)
        b.ok("pin", cid)
        self.assertEqual([p["state"] for p in b.lines("pin")], ["complete"])
        self.assertGreater(float(json.loads(b.ok("ping", ida, "-c", "1", "--json"))["rtt"]), 0)
        shown = b.ok("peers", "--json") + b.ok("status", "--json")
        self.assertNotRegex(shown, r"\d\.\d{16}", "the number as it was, not all that its binary form has")
        b.ok("disconnect", ida)
        self.assertEqual(b.lines("peers"), [], "seen at once")
        self.fails(b.run("connect", address[:-1] + ("a" if address[-1] != "a" else "b")), 7)


if __name__ == "__main__":
    if not os.access(P2P, os.X_OK):
        sys.exit(f"needs the built program at {P2P}")
    unittest.main(verbosity=2)
