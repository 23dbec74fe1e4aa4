#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What `cmake --install` puts down: it is whole, readable by the programs it is for, and the service manager's line starts a node that
is mounted when it says READY."""
import os, pathlib, select, shlex, shutil, signal, socket, subprocess, tempfile, unittest

SOURCE = pathlib.Path(__file__).resolve().parents[2]
P2P = pathlib.Path(os.environ.get("P2P_BIN", SOURCE / "build" / "release" / "p2p"))
FILES = """bin/p2p lib/systemd/user/p2p.service share/bash-completion/completions/p2p share/zsh/site-functions/_p2p
share/fish/vendor_completions.d/p2p.fish share/man/man1/p2p.1 share/man/man5/p2p.conf.5 share/man/man7/p2p-control.7
share/man/man7/p2p-dns.7 share/man/man7/p2p-mount.7 share/p2p/ssh_config share/p2p/dns/dnsmasq.conf share/p2p/dns/unbound.conf
share/p2p/dns/systemd-resolved.conf share/p2p/dns/p2p.dns-delegate""".split()


class Installed(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if not (P2P.parent / "cmake_install.cmake").exists():
            raise unittest.SkipTest(f"{P2P.parent} is no build folder")
        cls.dir = pathlib.Path(tempfile.mkdtemp(prefix="p2p-installed-"))
        cls.addClassCleanup(shutil.rmtree, cls.dir, ignore_errors=True)
        subprocess.run(["cmake", "--install", P2P.parent, "--prefix", "/usr"], env=dict(os.environ, DESTDIR=str(cls.dir)), check=True,
                       stdout=subprocess.DEVNULL)
        cls.usr = cls.dir / "usr"

    def test_files(self):
        there = {str(p.relative_to(self.usr)): p for p in self.usr.rglob("*") if not p.is_dir()}
        self.assertEqual(sorted(there), sorted(FILES))
        for name, path in there.items():
            self.assertEqual(path.stat().st_mode & 0o777, 0o755 if name == "bin/p2p" else 0o644, name)
            self.assertGreater(path.stat().st_size, 100, name)
        self.assertEqual([p.name for p in self.dir.iterdir()], ["usr"], "nothing outside the prefix")
        self.assertIn("p2p 0.", subprocess.run([self.usr / "bin/p2p", "version"], capture_output=True, text=True, check=True).stdout)

    def test_manual(self):
        for page in sorted(self.usr.glob("share/man/*/*")):
            p = subprocess.run(["mandoc", "-Tlint", "-Wwarning", page], capture_output=True, text=True)
            self.assertEqual((p.returncode, p.stdout + p.stderr), (0, ""))
            if shutil.which("man"):  # man -l: as a reader sees it
                p = subprocess.run(["man", "--warnings=w", "-l", page], capture_output=True, text=True, env=dict(os.environ, LC_ALL="C.UTF-8", MANWIDTH="80"))
                self.assertEqual((p.returncode, p.stderr), (0, ""), page)
                self.assertIn("NAME", p.stdout)

    def test_completions(self):
        for shell, name in (("bash", "bash-completion/completions/p2p"), ("zsh", "zsh/site-functions/_p2p"), ("fish", "fish/vendor_completions.d/p2p.fish")):
            if shutil.which(shell):
                subprocess.run([shell, "-n", self.usr / "share" / name], check=True)
        script = f'. {self.usr}/share/bash-completion/completions/p2p; COMP_WORDS=(p2p sta); COMP_CWORD=1; ' \
                 '$(complete -p p2p | sed "s/.*-F \\([^ ]*\\).*/\\1/"); echo "${COMPREPLY[*]}"'
        out = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout.split()
        self.assertEqual(sorted(out), ["stat", "status"])

    def test_unit(self):
        """The line of the unit, with a service manager's socket: at the moment of READY the mount is there and answers."""
        unit = (self.usr / "lib/systemd/user/p2p.service").read_text()
        self.assertIn("Type=notify", unit)
        line = [shlex.split(l[len("ExecStart="):]) for l in unit.splitlines() if l.startswith("ExecStart=")][0]
        self.assertEqual(line[0], "/usr/bin/p2p")
        if not os.access("/dev/fuse", os.R_OK | os.W_OK):
            self.skipTest("needs /dev/fuse")
        home = self.dir / "home"
        (home / ".config/p2p").mkdir(parents=True)
        (home / ".config/p2p/config").write_text("listen = /ip4/127.0.0.1/tcp/0\nmdns = no\n")
        (home / "run").mkdir(mode=0o700)
        mount = home / "p2p"
        env = {k: v for k, v in os.environ.items() if not k.startswith(("P2P_", "XDG_"))}
        env.update(HOME=str(home), XDG_RUNTIME_DIR=str(home / "run"), NOTIFY_SOCKET=str(home / "notify"))
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
            s.bind(str(home / "notify"))
            p = subprocess.Popen([self.usr / "bin/p2p", *line[1:]], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            try:
                self.assertTrue(select.select([s], [], [], 30)[0], "no word to the service manager")
                told = s.recv(4096)
                there = os.path.ismount(mount)
                self.assertIn(b"READY=1", told)
                self.assertTrue(there, "mounted before READY")
                self.assertIn("state\tworking", (mount / "status").read_text())
                self.assertTrue((home / "run/p2p").is_dir() and (home / ".local/share/p2p").is_dir(), list(home.rglob("*")))
                p.send_signal(signal.SIGHUP)  # ExecReload
                self.assertIn("state\tworking", (mount / "status").read_text())
                p.send_signal(signal.SIGTERM)
                self.assertIn(b"STOPPING=1", s.recv(4096))
                out, err = p.communicate(timeout=30)
                self.assertEqual((p.returncode, out), (0, b""), err)
                self.assertFalse(os.path.ismount(mount))
            finally:
                if p.poll() is None:
                    p.kill()
                    p.communicate()
                    subprocess.run(["umount", "-l", mount], stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    unittest.main(verbosity=2)
