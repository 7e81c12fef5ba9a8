"""A stand-in for prom/statsd-exporter: it adds up StatsD with InfluxDB's tags, and serves the sums.

statsd_exporter.py --statsd.listen-udp=:9125 --web.listen-address=:9102

Counters are added, gauges set, and of times there are the sum in seconds and the number, without quantiles.
"""

import re
import socket
import sys
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

PACKET = re.compile(r"(?P<name>[^:,]+)(?P<tags>,[^:]*)?:(?P<value>[^|]+)\|(?P<kind>c|g|ms)")
sums: dict[tuple[str, str], float] = defaultdict(float)


def add(line: str) -> None:
    """Add a line of StatsD to the sums; what is none is left out."""
    if not (found := PACKET.match(line)):
        return
    name = re.sub(r"\W", "_", found["name"])
    pairs = (tag.partition("=") for tag in filter(None, (found["tags"] or "").split(",")))
    labels = ",".join('{}="{}"'.format(re.sub(r"\W", "_", key), value) for key, _, value in pairs)
    value = float(found["value"])
    if found["kind"] == "ms":
        sums[f"{name}_sum", labels] += value / 1000
        sums[f"{name}_count", labels] += 1
    elif found["kind"] == "c" or found["value"][0] in "+-":
        sums[name, labels] += value
    else:
        sums[name, labels] = value


def listen(port: int) -> None:
    """Add what comes in."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("", port))
        while True:
            for line in server.recv(65536).decode(errors="replace").splitlines():
                add(line)


class Metrics(BaseHTTPRequestHandler):
    """Serves the sums."""

    def do_GET(self) -> None:
        """Answer with all sums, whatever the path."""
        text = "".join(f"{name}{{{labels}}} {value}\n" for (name, labels), value in sorted(sums.copy().items()))
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_arguments: object) -> None:
        """Log nothing."""


if __name__ == "__main__":
    options = dict(argument.lstrip("-").partition("=")[::2] for argument in sys.argv[1:])
    Thread(target=listen, args=[int(options["statsd.listen-udp"].rpartition(":")[2])], daemon=True).start()
    ThreadingHTTPServer(("", int(options["web.listen-address"].rpartition(":")[2])), Metrics).serve_forever()
