#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Names below .overlay through systemd-resolved with the shipped lines. It is not installed for that, because that would change how
this machine finds names: where it is missing its package is unpacked into a folder of the test's own, and runs with a /run and an
/etc/passwd of its own."""
import os, pathlib, shutil, subprocess, sys, unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import overlay_dns
from lab import Lab


PACKAGES = ("systemd-resolved", "libsystemd-shared")


def find_program(root):
    return next((p for p in (root / "lib/systemd/systemd-resolved", root / "usr/lib/systemd/systemd-resolved") if p.exists()), None)


def unpack(root):
    """What apt-get has of it, without installing; nothing where there is no apt-get, or no network."""
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        return
    root.mkdir()
    try:
        subprocess.run(["apt-get", "download", "-q", "-o", "APT::Sandbox::User=root", *PACKAGES], cwd=root, capture_output=True, timeout=120)
        for package in root.glob("*.deb"):
            subprocess.run(["dpkg-deb", "-x", package, root], check=True, capture_output=True)
    except (OSError, subprocess.SubprocessError) as fault:
        print(f"systemd-resolved is not to be had: {fault}", file=sys.stderr)


class Resolved(overlay_dns.Resolver):
    def test_systemd_resolved(self):
        """With its user, whom a machine without it does not have. No bus is needed."""
        root = pathlib.Path(os.environ.get("RESOLVED_ROOT", "/"))
        with Lab(2) as lab:
            if not find_program(root):
                root = lab.dir / "resolved"
                unpack(root)
            program = find_program(root)
            if not program:
                self.skipTest("systemd-resolved is neither installed nor to be had by apt-get download; RESOLVED_ROOT is a folder with it")
            self.two(lab, connect=False)
            for name, line in (("passwd", "systemd-resolve:x:65533:65533::/:/bin/false\n"), ("group", "systemd-resolve:x:65533:\n")):
                text = pathlib.Path("/etc", name).read_text()
                (lab.dir / name).write_text(text if "systemd-resolve:" in text else text + line)
            script = ("mount --bind $0/passwd /etc/passwd; mount --bind $0/group /etc/group; mount -t tmpfs none /run; "
                      "mkdir -p /run/systemd/resolve /run/systemd/resolved.conf.d; chown systemd-resolve:systemd-resolve /run/systemd/resolve; "
                      'cp "$1" /run/systemd/resolved.conf.d/p2p.conf; exec "$2"')
            libraries = ":".join(str(p) for p in (root / "usr/lib").glob("*-linux-gnu/systemd"))
            lab.popen(1, ["unshare", "-m", "env", f"LD_LIBRARY_PATH={libraries}", "sh", "-ec", script, lab.dir,
                          overlay_dns.CONTRIB / "dns/systemd-resolved.conf", program], stderr=subprocess.DEVNULL)
            self.found("127.0.0.53")


if __name__ == "__main__":
    unittest.main(verbosity=2)
