#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Bad input, by table: a sentence that names it, the right exit code, and nothing changed. What the node itself is given on other ways
(mount: mount/errno; control socket at random: command_line.py; the network: tests/hostile and the fuzz targets) is tested there."""
import base64, fcntl, hashlib, json, os, resource, shutil, signal, struct, subprocess, time, unittest

from command_line import HELLO, P2P, Base, Home

USAGE, FOUND, FAILED, DENIED, DAMAGED = 2, 3, 1, 6, 7


def base32(data):
    return "b" + base64.b32encode(data).decode().lower().rstrip("=")


def snapshot(folder):
    """Everything in it but who was the last to lock it."""
    rows = {}
    for p in sorted(folder.rglob("*")):
        s = p.lstat()
        content = hashlib.sha256(p.read_bytes()).digest() if p.is_file() and not p.is_symlink() else None
        if p.name not in ("lock", "lock.mdb", "log", "control") and not p.is_socket():
            rows[str(p.relative_to(folder))] = (s.st_mode, s.st_uid, s.st_size, content)
    return rows


CONFIG_LINES = [  # line, what the sentence says
    ("nonsense", 'config:1: expected "key = value"'),
    ("= 1", "config:1: there is no key before the ="),
    ("Mdns = no", "config:1: a key consists of"),
    (b"\xff\xfe = 1", "config:1: a key consists of"),
    ("no-such-key = 1", 'config:1: unknown key "no-such-key"'),
    ("# fine\n\nmdns = maybe", "config:3: mdns must be yes or no"),
    ("mdns = no\nmdns = yes", "config:2: mdns is given twice"),
    ("memory = 1", "config:1: memory must be between 16M and 1T"),
    ("memory = 12Q", "config:1: memory must be a size"),
    ("memory = -1", "config:1: memory must be a size"),
    ("quota = x", "config:1: quota must be a size"),
    ("timeout-read = 5 parsecs", "config:1: timeout-read must be a duration"),
    ("timeout-read = 0s", "config:1: timeout-read must be between"),
    ("max-connections = 999999999999999999999", "config:1: max-connections must be a number"),
    ("listen = /ip4/1.2.3/tcp/1", '"1.2.3" is no value for /ip4'),
    ("listen = /ip4/127.0.0.1/udp/1", "'/ip4/127.0.0.1/udp/1' is not a TCP address"),
    ("quiet = " + "a " * 100, "config:1: quiet has more than 64 entries"),
    ("quiet = a\x01b", "config:1: quiet contains a control character"),
    ("a" * 5000, "config:1: expected"),
]
CIDS = [  # text, what the sentence says besides naming it
    ("b", "holds nothing"), ("bafy", "cut short"), (HELLO[:-1], "cut short"), (HELLO[:-1] + "1", "is not of its base"), (HELLO + "a", "cut short"),
    ("Qm", "46 characters"), ("Qmf412jQZiuVUtdgnB36FXFX7xg5V6KEbSJ4dpQuhkLyf0", "46, '0', is not of its base"), ("zzzz", "version is not 1"),
    ("b" + "a" * 2000, "too long"), (base32(b"\x02\x55\x12\x20" + bytes(32)), "version is not 1"),
    (base32(b"\x01\x55\x12\x20" + bytes(31)), "cut short"), (base32(b"\x01\x55\x12\x20" + bytes(33)), "too long"),
    (base32(b"\x01\x55\x99\x20" + bytes(32)), "not allowed"), (base32(b"\x01\x55\x12\x04" + bytes(4)), "too long or"),
]
RAW = [  # words with bytes that are not UTF-8 ("\udcff" is 0xff), exit code, what the sentence says: the rest of it is told
    (["cat", "\udcff\udcfe"], USAGE, "'??' is not a CID"), (["stat", "é\udcff"], USAGE, "'é?' is not a CID"), (["ls", "é" * 300], USAGE, "is not a CID"),
    (["dns", "a\udcff"], FOUND, "'a?'"), (["dial", "a/\udcff"], USAGE, "'?' cannot be a service"), (["ping", "\udcff"], USAGE, "'?'"),
]
PATHS = [("", "empty"), ("share/../x", "'share/../x': '..' is not known here"), ("share/a/..", "'share/a/..': '..'"), ("/ipfs/", "'/ipfs/' names no CID"), ("/", "'/' is not below the mount"), ("../x", "'../x' is not below the mount"), ("/etc/passwd", "/etc/passwd"), ("nonsense", "'nonsense'")]
ADDRESSES = [  # text, exit code, what the sentence says
    ("", USAGE, "empty"), ("/", USAGE, "begins with /"), ("//", USAGE, "'//'"), ("/ip4", USAGE, "no value for /ip4"),
    ("/ip4/127.0.0.1/tcp", USAGE, "no value for /tcp"), ("/ip4/127.0.0.1/tcp/", USAGE, "no value for /tcp"),
    ("/ip4/127.0.0.1/tcp/65536", USAGE, '"65536" is no value'), ("/ip4/127.0.0.1/tcp/-1", USAGE, '"-1" is no value'),
    ("/ip4/127.0.0.1/tcp/0", USAGE, "port 0"), ("/ip4/1.2.3.256/tcp/1", USAGE, '"1.2.3.256"'), ("/ip6/::g/tcp/1", USAGE, '"::g"'),
    ("/ip4/127.0.0.1/nonsense/1", USAGE, '"nonsense"'), ("/ip4/127.0.0.1/tcp/1/p2p/xyz", USAGE, '"xyz"'),
    ("/ip4/127.0.0.1/tcp/1/p2p/" + HELLO, USAGE, HELLO), ("/dns4//tcp/1", USAGE, "no value for /dns4"),
    ("/dnsaddr/", USAGE, "no value for /dnsaddr"), ("/tcp/1" * 500, USAGE, "larger than allowed"), ("127.0.0.1:4001", USAGE, "127.0.0.1:4001"),
    ("/ip4/127.0.0.1", FAILED, "/ip4/127.0.0.1: only TCP"), ("/ip4/127.0.0.1/udp/1/quic-v1", FAILED, "only TCP"), ("/unix/x", FAILED, "only TCP"),
    ("/dnsaddr/a/tcp/1", FAILED, "only TCP"), ("/ip4/127.0.0.1/tcp/1/ws", FAILED, "only TCP"),
]
COMMANDS = [  # words, exit code, what the sentence says
    (["cat", HELLO, "--offset", "-1"], USAGE, "--offset: '-1'"), (["cat", HELLO, "--length", "1e9"], USAGE, "--length: '1e9'"),
    (["limits", "upload", "x"], USAGE, "upload-limit must be a size"), (["limits", "memory", "1"], USAGE, "memory must be between"),
    (["limits", "nonsense", "1"], USAGE, "'nonsense'"), (["config", "nonsense", "1"], USAGE, "'nonsense'"),
    (["config", "mdns", "maybe"], USAGE, "mdns must be"), (["config", "listen", "x"], USAGE, "'x' is not a TCP address"),
    (["config", "quiet", "a\nb"], USAGE, "control character"), (["config", "--unset", "nonsense"], USAGE, "'nonsense'"),
    (["pin", HELLO, "--name"], USAGE, "--name needs a value"), (["offer", "a/b"], USAGE, "offer"),
    (["offer", "x", "tcp", "nowhere"], USAGE, "'nowhere'"), (["offer", "x", "tcp", "127.0.0.1:99999"], USAGE, "'127.0.0.1:99999'"),
    (["offer", "x", "nonsense"], USAGE, "'nonsense'"), (["forward", "tcp", "99999", "x/y"], USAGE, "'99999'"),
    (["forward", "tcp", "1", "y"], USAGE, "'y'"), (["ping", "zzz"], USAGE, "'zzz'"), (["dial", "zzz/y"], USAGE, "'zzz'"),
    (["add", "/nonexistent"], FOUND, "'/nonexistent'"), (["import", "/nonexistent"], FOUND, "'/nonexistent'"), (["import", "/"], FAILED, "'/'"),
    (["up", ""], USAGE, "the name of the folder is empty"), (["bench", "--size", "x"], USAGE, "--size: 'x'"), (["completion", "tcsh"], USAGE, "'tcsh'"), (["gc", "x"], USAGE, "'x'"),
]


class Words(Base):
    def test_config_files(self):
        for line, words in CONFIG_LINES:
            h = Home(self, "")
            (h.dir / "config").write_bytes((line if isinstance(line, bytes) else line.encode()) + b"\n")
            before = snapshot(h.dir)
            self.fails(h.run("up", "--no-mount"), USAGE, words)
            self.assertEqual(snapshot(h.dir), before, line)

    def limits(self, h):
        """Those that were set: the shares of the memory follow what the process has."""
        rows = [row.split("\t")[:2] for row in h.ok("limits").splitlines()]
        return [row for row in rows if not row[0].startswith("memory.")]

    def test_reload_of_a_bad_file(self):
        """The file was spoiled while the node runs: it goes on with what it has, and its log says what is wrong."""
        h = Home(self)
        p = subprocess.Popen([P2P, "up", "--foreground", "--no-mount"], env=h.env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self.addCleanup(p.kill)
        wait = time.monotonic() + 30
        while h.run("status").returncode and time.monotonic() < wait:
            time.sleep(0.05)
        limits = self.limits(h)
        (h.dir / "config").write_text("memory = lots\n")
        p.send_signal(signal.SIGHUP)
        said = b""
        while b"memory must be a size" not in said:
            line = p.stderr.readline()
            self.assertTrue(line, said)
            said += line
        self.assertIn(b"config:1", said)
        self.assertEqual(self.limits(h), limits)
        self.assertIn("memory must be a size", h.ok("events"))
        (h.dir / "config").write_text("")
        p.terminate()
        self.assertEqual(p.wait(30), 0)
        p.stderr.close()

    def starts_at(self, h, limits, resource_, words, program=P2P, **who):
        """The first of the limits with which the node starts, and ends as told; with those before it says so."""
        for most in limits:
            p = subprocess.Popen([program, "up", "--foreground", "--no-mount", "-q"], env=h.env, stderr=subprocess.PIPE,
                                 preexec_fn=lambda: resource.setrlimit(resource_, (most, most)), **who)
            self.addCleanup(p.kill)
            while p.poll() is None and h.run("status").returncode:
                time.sleep(0.02)
            with p.stderr:
                if p.poll() is None:
                    h.ok("down")
                    self.assertEqual(p.wait(30), 0)
                    return most
                self.assertEqual((p.returncode, words in p.stderr.read()), (FAILED, True), most)
        return None

    def test_no_thread(self):
        """A user, or a container, that may have no more threads: it does not start, and says so, wherever it meets the limit."""
        if os.geteuid() != 0:
            self.skipTest("needs root, to be another user")
        h = Home(self)
        nobody = 65531
        program = shutil.copy(P2P, h.dir / "p2p")  # where it was built another user may not come
        h.dir.chmod(0o755)
        os.chown(h.dir, nobody, nobody)
        if subprocess.run(["setpriv", f"--reuid={nobody}", "--clear-groups", program, "version"], env=h.env, capture_output=True).returncode:
            self.skipTest(f"another user cannot run {program}")
        self.assertGreater(self.starts_at(h, range(1, 40), resource.RLIMIT_NPROC, b"no thread could be started", program, user=nobody, group=nobody), 4)

    def test_few_files(self):
        """Who may open so few files that it could not work is told so, wherever the limit is."""
        # below 8 the loader of the program already fails
        self.assertEqual(self.starts_at(Home(self), range(8, 65), resource.RLIMIT_NOFILE, b"ulimit"), 64)

    def test_nobody_reads_the_log(self):
        """A terminal that was stopped, a pager: the node goes on, and ends when it is asked to."""
        h = Home(self)
        end, pipe = os.pipe()
        os.write(pipe, bytes(fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, 4096)))
        p = subprocess.Popen([P2P, "up", "--foreground", "--no-mount", "-q"], env=h.env, stderr=pipe)
        self.addCleanup(p.kill)
        os.close(pipe)
        wait = time.monotonic() + 30
        while h.run("status").returncode and time.monotonic() < wait:
            time.sleep(0.05)
        h.ok("add", __file__)
        h.ok("down", timeout=20)
        self.assertEqual(p.wait(20), 0)
        os.close(end)

    def test_words(self):
        h = Home(self).up()
        kept, peers, config = h.ok("pin"), h.ok("peers", "--all"), (h.dir / "config").read_bytes()
        for cid, words in CIDS:
            for command in ("cat", "ls", "stat", "get", "pin", "unpin", "export"):
                self.fails(h.run(command, cid), USAGE, f"'{cid[:60]}", words)
        for path, words in PATHS:
            for command in ("cat", "ls", "stat", "get", "pin", "export"):
                if path or command != "ls":
                    self.fails(h.run(command, path), USAGE, words)
        for args, status, words in RAW:
            self.fails(h.run(*args), status, words)
        for address, status, words in ADDRESSES:
            self.fails(h.run("connect", address), status, words)
        for args, status, words in COMMANDS:
            self.fails(h.run(*args), status, words)
        self.assertEqual((h.ok("pin"), h.ok("peers", "--all"), (h.dir / "config").read_bytes()), (kept, peers, config), "nothing changed")
        self.assertEqual([p.name for p in h.dir.iterdir() if p.name not in ("config", "run", "state")], [])
        self.assertEqual(h.ok("offer") + h.ok("forward"), "")

    def test_control_requests(self):
        h = Home(self).up()
        for method, target, status in (
                ("GET", "/", 404), ("GET", "/v2/status", 404), ("GET", "/v1/status/x", 404), ("POST", "/v1/status", 400),
                ("GET", "/v1/gc", 400), ("GET", "/v1/cat?path=" + HELLO[:-1], 400), ("GET", "/v1/cat?path=" + HELLO + "&offset=x", 400),
                ("GET", "/v1/cat?path=" + HELLO + "&offset=18446744073709551616", 400), ("GET", "/v1/stat?path=%00", 400),
                ("GET", "/v1/stat?path=%zz", 400), ("POST", "/v1/connect?peer=%2Fip4", 400), ("POST", "/v1/limits?name=memory&value=1", 400),
                ("POST", "/v1/pin", 400), ("DELETE", "/v1/import/99999999999999999999", 404)):
            got, body = h.request(method, target)
            text = json.loads(body)
            self.assertEqual(got, status, (method, target, text))
            self.assertGreater(len(text["message"]), 8, (method, target))
        self.assertEqual(h.ok("pin"), "")


@unittest.skipUnless(os.access("/dev/fuse", os.W_OK), "needs /dev/fuse")
class Mounted(Base):
    """A file of the mount is told by its name, from wherever one stands."""

    def setUp(self):
        self.h = h = Home(self)
        h.ok("up", "--quiet", h.dir / "m")
        self.d = h.dir / "m" / "share" / "d"
        self.d.mkdir()
        (self.d / "f").write_text("hello world")
        (self.d / "link").symlink_to("f")
        (self.d / "kept").symlink_to("../../ipfs/" + HELLO)
        (h.dir / "link").symlink_to("f")

    def test_names(self):
        h, d = self.h, self.d
        for cwd, name in ((h.dir, "m/share/d/f"), (h.dir, "m/ipfs/" + HELLO), (d, "f"), (d, "./f"), (d.parent, "d/f"), (d, "../d/f"),
                          (d.parent, HELLO), ("/", "share/d/f"), ("/", d / "f"), ("/", "share/d/kept"), (d, "kept")):
            self.assertEqual(h.ok("cat", name, cwd=cwd), "hello world", (cwd, name))
            self.assertEqual(json.loads(h.ok("stat", name, "--json", cwd=cwd))["cid"], HELLO, (cwd, name))
        for cwd, name in (("/", "share/d/f"), (d, "f"), (h.dir, "m/share/d/f"), (d, "kept")):
            self.assertEqual(h.ok("cid", name, cwd=cwd).split()[0], HELLO, (cwd, name))
        for command in ("cat", "ls", "stat", "pin", "cid"):
            for name in ("m/status", "m/README", "m/.p2p/log", "m", "m/peers", "m/ipfs"):
                self.fails(h.run(command, name), USAGE, f"'{name}' has no CID")
            self.fails(h.run(command, "share/gone"), FOUND, "share/gone")
            self.fails(h.run(command, "share/d/\udcff"), FOUND, "share/d/?")

    def test_symlinks(self):
        """A symlink that keeps nothing is there like anything else."""
        h = self.h
        link = h.ok("cid", "link").split()[0]
        self.assertEqual(h.ok("cid", "share/d/link").split()[0], link)
        row = json.loads(h.ok("stat", "share/d/link", "--json"))
        self.assertEqual((row["cid"], row["type"], row["target"]), (link, "symlink", "f"))
        self.fails(h.run("cat", "share/d/link"), FAILED, "share/d/link is not a file")
        folder = h.ok("cid", "share/d").split()[0]
        self.fails(h.run("cat", folder + "/link"), FAILED, folder + "/link is not a file")
        h.ok("get", "share/d/link", "-o", "copy")
        self.assertEqual(os.readlink(h.dir / "copy"), "f")


class Files(Base):
    def test_cars(self):
        h = Home(self).up()
        block = b"hello world"
        name = b"\x01\x55\x12\x20" + hashlib.sha256(block).digest()
        head = b"\xa2eroots\x81\xd8\x2a\x58\x25\x00" + name + b"gversion\x01"
        part = bytes([len(name) + len(block)]) + name + block
        car = bytes([len(head)]) + head + part
        pragma = bytes.fromhex("0aa16776657273696f6e02")
        bad = [(car[:n], 0 if n <= len(head) else len(head) + 1) for n in range(len(car)) if n != len(head) + 1]
        bad += [(b"\xff\xff\xff\xff\x0f" + car[1:], 0), (b"\xff" * 20, 0), (b"\x01\x01", 0), (b"\x3a\xa2eroots\x81", 0),
                (car + b"\x00", len(car)), (car + b"\x05abc", len(car)), (car[:-1] + b"X", len(head) + 1), (pragma, len(pragma)),
                (pragma + bytes(16) + struct.pack("<QQQ", 1 << 60, 1 << 60, 0) + car, None), (car[:-11] + b"\xff\xff\xff\x7f", None)]
        for data, at in bad:
            (h.dir / "x.car").write_bytes(data)
            p = h.run("import", "x.car")
            self.fails(p, DAMAGED, "x.car: ", f"at byte {at}:" if at is not None and data != car[:-1] + b"X" else "")
            self.assertEqual(h.ok("pin"), "", "nothing is kept")
        (h.dir / "x.car").write_bytes(car.replace(b"gversion\x01", b"gversion\x03"))
        self.fails(h.run("import", "x.car"), FAILED, "x.car: ", "not supported")
        (h.dir / "x.car").write_bytes(car)
        self.assertEqual(h.ok("import", "x.car").split()[0], HELLO)
        self.assertIn(HELLO, h.ok("pin"))

    def test_state_folders(self):
        whole = Home(self).up()
        (whole.dir / "f").write_bytes(os.urandom(3 << 20))
        cid = whole.ok("add", "f").split()[0]
        whole.ok("down")
        size = (whole.dir / "state/blocks/data.mdb").stat().st_size
        segments = [p.name for p in (whole.dir / "state/blocks").glob("segment-*")]
        self.assertTrue(segments, "big blocks have files of their own")

        def write(name, data):
            return lambda s: (s / name).write_bytes(data)

        def truncate(name, n):
            return lambda s: os.truncate(s / name, n)

        def replace(name, how):
            return lambda s: ((s / name).unlink(), how(s / name))

        def change(name, at, to):
            def f(s):
                data = bytearray((s / name).read_bytes())
                data[at] = to(data[at])
                (s / name).write_bytes(data)
            return f

        key, db = "identity.key", "blocks/data.mdb"
        cases = [(f"key {n} bytes", write(key, b"\x08" * n), USAGE, key) for n in (0, 1, 67)]
        cases += [
            ("key too big", write(key, bytes(100000)), USAGE, "100000 bytes"),
            ("key is cut", truncate(key, 60), USAGE, key),
            ("key of another type", change(key, 1, lambda b: 0), FAILED, "only Ed25519"),
            ("key whose halves differ", change(key, -1, lambda b: b ^ 1), DAMAGED, "public key"),
            ("key is a folder", replace(key, lambda p: p.mkdir()), USAGE, "is not a file"),
            ("key is a pipe", replace(key, os.mkfifo), USAGE, "is not a file"),
            ("key is a link", replace(key, lambda p: p.symlink_to("/etc/passwd")), FAILED, key),
        ]
        cases += [(f"key mode {mode:o}", lambda s, mode=mode: (s / key).chmod(mode), DENIED, f"(mode {mode:04o})")
                  for mode in (0o644, 0o640, 0o604, 0o660)]
        if os.getuid() == 0:
            cases.append(("key of another user", lambda s: os.chown(s / key, 1234, 1234), DENIED, "user 1234"))
        cases += [(f"version {text!r}", write("version", text), DAMAGED, "version should hold the number")
                  for text in (b"", b"x\n", b"-1\n", b"0\n", b"1 1\n", b"99999999999999999999\n")]
        cases += [("version of tomorrow", write("version", b"999\n"), FAILED, "newer version (format 999"),
                  ("version is a folder", replace("version", lambda p: p.mkdir()), FAILED, "version: ")]
        cases += [(f"index cut to {n}", truncate(db, n), DAMAGED, "data.mdb") for n in (0, 1, 100, 4096, 8192, size // 2 // 4096 * 4096)]
        cases += [("index is gone", lambda s: (s / db).unlink(), DAMAGED, "data.mdb is gone or empty"),
                  ("index is junk", write(db, bytes(range(256)) * 64), DAMAGED, "data.mdb"),
                  ("index begins wrong", change(db, 16, lambda b: b ^ 0xff), DAMAGED, "data.mdb"),
                  ("index is a folder", replace(db, lambda p: p.mkdir()), DAMAGED, "data.mdb"),
                  ("state is a file", lambda s: (shutil.rmtree(s), s.write_text("x")), FAILED, "is not a folder"),
                  ("run is a file", lambda s: (shutil.rmtree(s.parent / "run"), (s.parent / "run").write_text("")), FAILED, "run is not a"),
                  ("config is a folder", lambda s: ((s.parent / "config").unlink(), (s.parent / "config").mkdir()), FAILED, "config"),
                  ("config is too big", lambda s: (s.parent / "config").write_bytes(b"#" * 5000000), FAILED, "is larger than")]
        for name, spoil, status, words in cases:
            with self.subTest(name):
                h = Home(self)
                shutil.rmtree(h.dir)
                shutil.copytree(whole.dir, h.dir, symlinks=True)
                spoil(h.dir / "state")
                before = snapshot(h.dir)
                self.fails(h.run("up", "--no-mount"), status, words)
                self.assertEqual(snapshot(h.dir), before, f"{name}: nothing changed")
        whole.up()
        self.assertEqual(whole.run("cat", cid).stdout, (whole.dir / "f").read_bytes())
        before = snapshot(whole.dir / "state")
        self.fails(whole.run("up", "--no-mount"), FAILED, "another node", str(whole.dir))
        self.assertEqual(snapshot(whole.dir / "state"), before, "two nodes on one state: the second changes nothing")


if __name__ == "__main__":
    unittest.main(verbosity=2)
