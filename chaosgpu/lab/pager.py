# SPDX-License-Identifier: Apache-2.0
"""The pager of the lab: whoever is on call. It writes down each message that Alertmanager sends, one line each."""

import json
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import override

__all__ = ["main"]

_LARGEST = 1 << 20


def handler(file: Path) -> type[BaseHTTPRequestHandler]:
    """Return what takes messages into a file."""

    class Pager(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            """Take one message."""
            length = min(int(self.headers.get("Content-Length") or 0), _LARGEST)
            message = json.loads(self.rfile.read(length))
            with file.open("a") as stream:
                for alert in message.get("alerts", []):
                    name = alert["labels"]["alertname"]
                    line = {"at": round(time.time(), 3), "alert": name, "status": alert["status"]}
                    stream.write(json.dumps(line) + "\n")
            self.send_response(200)
            self.end_headers()

        @override
        def log_message(self, format: str, *args: object) -> None:
            """Say nothing: the file is the log."""

    return Pager


def main(port: str, file: str) -> int:
    """Serve until a signal ends it."""
    ThreadingHTTPServer(("127.0.0.1", int(port)), handler(Path(file))).serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
