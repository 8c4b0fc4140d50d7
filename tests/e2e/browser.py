"""A real browser, headless: Debian's chromium by its own WebDriver (https://www.w3.org/TR/webdriver2/), over HTTP."""

import base64
import json
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
"""Key under which WebDriver hands out elements."""
_TIMEOUT_SECONDS = 60
_POLL_SECONDS = 0.2
_ARGUMENTS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-background-networking", "--disable-sync", "--disable-component-update", "--window-size=1400,1000",
)  # fmt: skip


def why_no_browser() -> str | None:
    """What is missing; None where a browser can be driven."""
    missing = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    return f"{' and '.join(missing)} not installed (Debian: chromium, chromium-driver)" if missing else None


class Browser:
    """One window."""

    def __init__(self, driver_url: str) -> None:
        options = {"binary": shutil.which("chromium"), "args": list(_ARGUMENTS)}
        wanted = {"capabilities": {"alwaysMatch": {"goog:chromeOptions": options}}}
        self._url = driver_url
        self._url += f"/session/{self._send('POST', '/session', wanted)['sessionId']}"

    def _send(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self._url + path, data=data, headers=headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as answer:
                return json.loads(answer.read())["value"]
        except urllib.error.HTTPError as error:
            raise LookupError(json.loads(error.read())["value"]["message"]) from error

    def open(self, url: str) -> None:
        self._send("POST", "/url", {"url": url})

    def run(self, script: str) -> Any:
        """The value of a script that ends in ``return``."""
        return self._send("POST", "/execute/sync", {"script": script, "args": []})

    def find(self, selector: str, timeout_seconds: float = _TIMEOUT_SECONDS) -> str:
        """The first element of a CSS selector, once it is there."""
        deadline = time.monotonic() + timeout_seconds
        while True:
            try:
                found = self._send("POST", "/element", {"using": "css selector", "value": selector})
                return str(found[_ELEMENT])
            except LookupError as error:
                if time.monotonic() > deadline:
                    raise AssertionError(f"{selector} did not appear: {self.text()[:2000]}") from error
                time.sleep(_POLL_SECONDS)

    def click(self, selector: str) -> None:
        self._send("POST", f"/element/{self.find(selector)}/click", {})

    def type(self, selector: str, text: str) -> None:
        self._send("POST", f"/element/{self.find(selector)}/value", {"text": text})

    def enter_frame(self, selector: str) -> None:
        self._send("POST", "/frame", {"id": {_ELEMENT: self.find(selector)}})

    def text(self, selector: str = "body") -> str:
        return str(self.run(f"return (document.querySelector({json.dumps(selector)}) || {{}}).innerText || ''"))

    def wait_for(self, script: str, timeout_seconds: float = _TIMEOUT_SECONDS) -> Any:
        """The script's value, once it is true."""
        deadline = time.monotonic() + timeout_seconds
        while not (value := self.run(script)):
            assert time.monotonic() < deadline, f"{script} stayed {value!r}: {self.text()[:2000]}"
            time.sleep(_POLL_SECONDS)
        return value

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self._send("GET", "/screenshot")))

    def close(self) -> None:
        self._send("DELETE", "")


@contextmanager
def open_browser(port: int) -> Iterator[Browser]:
    """A window of a browser of its own, which ends with the block.

    Args:
        port: free, for the driver.
    """
    driver = subprocess.Popen(["chromedriver", f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        browser = _connected(f"http://127.0.0.1:{port}")
        try:
            yield browser
        finally:
            browser.close()
    finally:
        driver.terminate()
        driver.wait()


def _connected(url: str) -> Browser:
    deadline = time.monotonic() + _TIMEOUT_SECONDS
    while True:
        try:
            return Browser(url)
        except urllib.error.URLError:
            assert time.monotonic() < deadline, "chromedriver does not answer"
            time.sleep(_POLL_SECONDS)
