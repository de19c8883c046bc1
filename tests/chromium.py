"""A headless Chromium for tests of pages: loaded from a file, driven over a loopback websocket."""

import asyncio
import base64
import itertools
import json
import shutil
import subprocess
import time
from contextlib import contextmanager
from urllib.request import urlopen

import pytest
from tornado.websocket import websocket_connect

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
SECONDS = 60  # for anything to happen, on a machine with other work
CODES = {"Tab": 9, "Enter": 13, "Escape": 27, " ": 32, "ArrowDown": 40}

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here")


class Page:
    """One page; what went wrong in it, or was refused, is in `troubles`."""

    def __init__(self, loop, socket):
        self._loop, self._socket, self._ids = loop, socket, itertools.count(1)
        self.troubles, self.requests = [], []

    def call(self, method, **parameters):
        return self._loop.run_until_complete(self._call(method, parameters))

    async def _call(self, method, parameters):
        number = next(self._ids)
        await self._socket.write_message(
            json.dumps({"id": number, "method": method, "params": parameters})
        )
        while True:
            said = json.loads(await asyncio.wait_for(self._socket.read_message(), SECONDS))
            if said.get("id") == number:
                assert "error" not in said, said
                return said["result"]
            self._hear(said)

    def _hear(self, said):
        method, what = said.get("method"), said.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.troubles.append(what["exceptionDetails"])
        elif method == "Log.entryAdded" and what["entry"]["level"] in ("error", "warning"):
            self.troubles.append(what["entry"])
        elif method == "Network.requestWillBeSent":
            self.requests.append(what["request"]["url"])

    def open(self, path):
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call("Page.navigate", url=path.as_uri())
        self.drawn()

    def value(self, script):
        """Of an expression in the page, as plain data."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def drawn(self, more_than=0):
        """Wait until the charts have been drawn more often than that; how often they were."""
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            count = int(self.value("document.documentElement?.dataset.drawn || 0"))
            if count > more_than:
                return count
            time.sleep(0.05)
        raise AssertionError(f"nothing was drawn: {self.troubles}")

    def press(self, key):
        text = {"Enter": "\r", " ": " "}.get(key, "")
        about = {"key": key, "code": key.strip() or "Space", "windowsVirtualKeyCode": CODES[key]}
        about |= {"text": text} if text else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", **about)
        self.call("Input.dispatchKeyEvent", type="keyUp", **about)

    def text(self, element):
        """What stands in the element of that id."""
        return self.value(f"document.getElementById('{element}').textContent")

    def focus(self):
        return self.value("document.activeElement.id || document.activeElement.name || ''")

    def tab_to(self, name):
        for _ in range(200):
            if self.focus() == name:
                return
            self.press("Tab")
        raise AssertionError(f"200 tabs do not reach {name}")

    def point_at(self, x, y, *, click=False):
        """Move the mouse there, and press it."""
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x - 1, y=y)
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        for kind in ("mousePressed", "mouseReleased") if click else ():
            about = {"button": "left", "clickCount": 1}
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **about)

    def screenshot(self, path):
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))


@contextmanager
def chromium(folder, width=1280):
    """A page of a Chromium that keeps everything below `folder`."""
    command = [
        *(CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run"),
        *("--disable-dev-shm-usage", "--disable-extensions", "--remote-debugging-port=0"),
        *(f"--user-data-dir={folder}", f"--window-size={width},1200", "about:blank"),
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    loop = asyncio.new_event_loop()
    try:
        socket = loop.run_until_complete(_connected(_address(folder)))
        yield Page(loop, socket)
        loop.run_until_complete(_closed(socket))
    finally:
        process.terminate()
        process.wait(SECONDS)
        loop.close()


async def _connected(address):
    return await websocket_connect(address, max_message_size=2**28)


async def _closed(socket):
    """Inside the loop: else tornado makes another loop, which nobody closes."""
    socket.close()
    await asyncio.sleep(0.1)


def _address(folder):
    """Of the page's websocket."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        try:
            port = (folder / "DevToolsActivePort").read_text().splitlines()[0]
            with urlopen(f"http://127.0.0.1:{port}/json") as answer:
                found = [each for each in json.load(answer) if each["type"] == "page"]
            return found[0]["webSocketDebuggerUrl"]
        except (OSError, IndexError):
            time.sleep(0.1)
    raise AssertionError("chromium did not start")
