#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A camera as a live service, watched on another node."""
import os, pathlib, shutil, signal, sys, unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from lab import wait_for
from services import Services


class Video(Services):
    def test_video(self):
        """ffmpeg writes a live service, on the other node it is watched: by ffmpeg, and by mpv where it is installed."""
        self.need("ffmpeg")
        where = self.a.mount / "streams/live/cam"
        feed = os.open(where, os.O_WRONLY | os.O_CREAT)
        camera = self.lab.popen(1, ["ffmpeg", "-v", "error", "-nostdin", "-re", "-f", "lavfi", "-i", "testsrc=size=320x240:rate=25", "-c:v",
                                    "mpeg2video", "-g", "10", "-f", "mpegts", "-"], stdout=feed)
        os.close(feed)
        (where.parent.parent / "offer/cam/allow" / self.b.id).touch()
        wait_for("it is listed", lambda: "cam" in os.listdir(self.alice))
        watch = ["ffmpeg", "-v", "error", "-nostdin", "-i", self.alice / "cam", "-frames:v", "50", "-f", "framecrc", "-"]
        pictures = [l for l in self.use(*watch).decode().splitlines() if not l.startswith("#")]
        self.assertEqual(len(pictures), 50)
        if shutil.which("mpv"):
            out = self.use("mpv", "--no-config", "--vo=null", "--ao=null", "--frames=50", self.alice / "cam").decode()
            self.assertIn("VO: [null] 320x240", out)
        camera.send_signal(signal.SIGINT)
        camera.wait(10)
        self.use("cat", self.alice / "cam", timeout=20)  # of a camera that is off: the last seconds, and an end


if __name__ == "__main__":
    unittest.main(verbosity=2)
