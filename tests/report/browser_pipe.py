"""A headless Chromium, spoken to over a pair of pipes: no port is opened, no library is needed."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-sync",
    "--hide-scrollbars",
    "--no-first-run",
    "--no-default-browser-check",
    # a request that slips through goes nowhere
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--remote-debugging-pipe",
)
# before any script of the page: whatever runs leaves a trace
_CANARY = """
window.__alerts = 0;
for (const name of ['alert', 'confirm', 'prompt', 'open', 'fetch', 'eval']) {
  window[name] = () => { window.__alerts += 1; };
}
"""


def find_chromium() -> str | None:
    """The path of a Chromium, None where there is none."""
    return next((path for path in map(shutil.which, NAMES) if path), None)


def install_chromium() -> str:
    """Install Debian's package where that is wanted, and return why there may still be none.

    Wanted: ``CI`` is set, the tests run as root and apt-get exists. Nothing else on a machine
    is ever changed.
    """
    if not os.environ.get("CI") or os.getuid() != 0 or shutil.which("apt-get") is None:
        return f"no browser ({', '.join(NAMES)}); it is installed only where CI is set, as root, by apt-get"
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["apt-get", "update"], ["apt-get", "install", "-y", "--no-install-recommends", NAMES[0]]):
        done = subprocess.run(command, env=quiet, capture_output=True, text=True, timeout=600, check=False)
        if done.returncode:
            return f"{' '.join(command)} failed: {done.stderr.strip()[-300:]}"
    return "the package chromium was installed, but brought no program of that name"


class Browser:
    """One Chromium with one page; use it as a context manager.

    `events` are the messages that the browser sent by itself since the last `open`.
    """

    def __init__(self, program: str, *, timeout: float = 60.0) -> None:
        self.events: list[dict[str, Any]] = []
        self._timeout = timeout
        self._number = 0
        self._rest = b""
        self._profile = tempfile.mkdtemp(prefix="chromium-profile-")
        self._pid, self._out, self._in = _start(program, self._profile)
        self._session = ""

    def __enter__(self) -> Browser:
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        attached = self._call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log", "Audits"):
            self._call(f"{domain}.enable")
        self._call("Page.addScriptToEvaluateOnNewDocument", source=_CANARY)
        return self

    def __exit__(self, *_: object) -> None:
        for end in (self._out, self._in):
            os.close(end)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._pid, signal.SIGKILL)  # the group that this class started
        os.waitpid(self._pid, 0)
        shutil.rmtree(self._profile, ignore_errors=True)

    def open(self, path: Path, *, width: int = 1400, height: int = 900) -> None:
        """Load a file at a width in CSS pixels and wait until it and its images are there."""
        mobile = width < 600
        self._call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=mobile,
        )
        self.events.clear()
        self._call("Page.navigate", url=path.resolve().as_uri())
        self._wait_for("Page.loadEventFired")
        self.run("Promise.all([...document.images].map(i => i.decode().catch(() => 0))).then(() => 1)")

    def run(self, script: str) -> Any:
        """The value of an expression of JavaScript, a promise awaited."""
        answer = self._call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(json.dumps(answer["exceptionDetails"])[:2000])
        return answer["result"].get("value")

    def named(self, *methods: str) -> list[dict[str, Any]]:
        """The parameters of the events of these names, oldest first."""
        return [e["params"] for e in self.events if e["method"] in methods]

    def requests(self) -> list[str]:
        """The address of each request of the page, those of inlined images left out."""
        urls = [p["request"]["url"] for p in self.named("Network.requestWillBeSent")]
        return [u for u in urls if not u.startswith("data:")]

    def complaints(self) -> list[str]:
        """Everything that the console, the log or the issues panel would show."""
        kinds = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded", "Audits.issueAdded")
        return [json.dumps(p)[:600] for p in self.named(*kinds)]

    def picture(self, path: Path) -> None:
        """Save what the whole page looks like as PNG."""
        shot = self._call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))

    def _call(self, method: str, **params: Any) -> dict[str, Any]:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session and not method.startswith("Target."):
            message["sessionId"] = self._session
        os.write(self._in, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return dict(answer["result"])

    def _wait_for(self, method: str) -> None:
        while not self.named(method):
            self._next()

    def _next(self) -> dict[str, Any]:
        """The next message; events are kept."""
        until = time.monotonic() + self._timeout
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._out], [], [], max(0.0, until - time.monotonic()))
            if not ready:
                raise TimeoutError(f"Chromium said nothing for {self._timeout:.0f} s")
            part = os.read(self._out, 1 << 20)
            if not part:
                raise RuntimeError("Chromium ended by itself")
            self._rest += part
        raw, self._rest = self._rest.split(b"\0", 1)
        message: dict[str, Any] = json.loads(raw)
        if "method" in message:
            self.events.append(message)
        return message


def _start(program: str, profile: str) -> tuple[int, int, int]:
    """Start Chromium as leader of its own group; return its id, the end to read and the end to write.

    It reads commands from file descriptor 3 and writes to 4.
    """
    command_read, command_write = _high(os.pipe())
    answer_read, answer_write = _high(os.pipe())
    log = os.open(os.path.join(profile, "stderr.txt"), os.O_CREAT | os.O_WRONLY, 0o600)
    pid = os.posix_spawn(
        program,
        [program, *_FLAGS, f"--user-data-dir={profile}"],
        {**os.environ, "HOME": profile},
        file_actions=[
            (os.POSIX_SPAWN_DUP2, command_read, 3),
            (os.POSIX_SPAWN_DUP2, answer_write, 4),
            (os.POSIX_SPAWN_DUP2, log, 1),
            (os.POSIX_SPAWN_DUP2, log, 2),
        ],
        setpgroup=0,
    )
    for end in (command_read, answer_write, log):
        os.close(end)
    return pid, answer_read, command_write


def _high(pair: tuple[int, int]) -> tuple[int, int]:
    """The same pipe on numbers above 9, so that moving its ends to 3 and 4 overwrites neither."""
    out = tuple(fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in pair)
    for end in pair:
        os.close(end)
    return out[0], out[1]
