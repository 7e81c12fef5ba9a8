"""Alerts are logged, and sent by web or mail if a connection says so; to real servers on loopback."""

import json
import socketserver
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from include.orchestration import alerts


class Webhook(BaseHTTPRequestHandler):
    def log_message(self, *_):
        """Say nothing."""

    def do_POST(self):
        self.server.heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.server.asked.append((self.path, self.headers.get("Authorization")))
        self.send_response(self.server.status)
        self.end_headers()


class MailServer(socketserver.StreamRequestHandler):
    def handle(self):
        self.wfile.write(b"220 ready\r\n")
        in_message = False
        for line in map(bytes.strip, self.rfile):
            if in_message:
                self.server.heard.append(line.decode())
                in_message = line != b"."
                if not in_message:
                    self.wfile.write(b"250 taken\r\n")
            elif line.upper() == b"DATA":
                in_message = True
                self.wfile.write(b"354 go on\r\n")
            elif line.upper() == b"QUIT":
                self.wfile.write(b"221 bye\r\n")
                return
            else:
                self.server.heard.append(line.decode())
                self.wfile.write(b"250 fine\r\n")


@pytest.fixture
def serve(airflow_database):
    """Runs a server that records what it receives."""
    servers = []

    def start(server, handler):
        running = server(("127.0.0.1", 0), handler)
        running.heard, running.asked, running.status = [], [], 200
        Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        servers.append(running)
        return running

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def connect(monkeypatch):
    def to(**connection):
        monkeypatch.setenv("AIRFLOW_CONN_TAXI_ALERTS", json.dumps(connection))

    return to


def test_without_a_connection_an_alert_is_only_logged(airflow_database, caplog):
    alerts.send("green is late", "run 1")

    assert "green is late: run 1" in caplog.text


def test_an_alert_is_posted_to_a_webhook(serve, connect, caplog):
    server = serve(ThreadingHTTPServer, Webhook)
    connect(conn_type="http", host=f"http://127.0.0.1:{server.server_port}/hook")

    alerts.send("green is late", "run 1")

    assert server.heard == [{"text": "green is late\nrun 1"}]
    assert "green is late: run 1" in caplog.text


TOKEN = "T0123/B0123/s3cret"


@pytest.mark.parametrize(
    "slack",
    [
        {"conn_type": "slackwebhook", "schema": "http", "host": "{host}/services", "password": TOKEN},
        {"conn_type": "slackwebhook", "host": "http://{host}/services/", "password": f"/{TOKEN}"},
        {"conn_type": "slackwebhook", "password": f"http://{{host}}/services/{TOKEN}"},
        {"conn_type": "http", "host": "http://{host}/services", "password": f"/{TOKEN}"},
        {"conn_type": "http", "host": f"http://{{host}}/services/{TOKEN}"},
        {"conn_type": "http", "schema": "http", "host": "{host}", "password": f"http://{{host}}/services/{TOKEN}"},
    ],
)
def test_a_connection_that_was_made_for_slack_is_taken_as_it_is(serve, connect, slack):
    server = serve(ThreadingHTTPServer, Webhook)
    host = f"127.0.0.1:{server.server_port}"
    connect(**{name: value.replace("{host}", host) for name, value in slack.items()})

    alerts.send("green is late", "run 1")

    assert server.heard == [{"text": "green is late\nrun 1"}]
    assert server.asked == [(f"/services/{TOKEN}", None)]


def test_a_slack_connection_that_fails_does_not_quote_its_token(serve, connect):
    server = serve(ThreadingHTTPServer, Webhook)
    server.status = 403
    connect(conn_type="slackwebhook", host=f"http://127.0.0.1:{server.server_port}/services", password=TOKEN)

    with pytest.raises(Exception, match="answered HTTP 403") as refusal:
        alerts.send("green is late", "run 1")

    assert "s3cret" not in str(refusal.value)


def test_a_slack_connection_without_a_token_says_what_it_needs(connect, airflow_database):
    connect(conn_type="slackwebhook")

    with pytest.raises(ValueError, match="has no password; expected the token of a Slack web hook"):
        alerts.send("green is late", "run 1")


def test_a_webhook_that_refuses_is_an_error(serve, connect):
    server = serve(ThreadingHTTPServer, Webhook)
    server.status = 500
    connect(conn_type="http", host=f"http://127.0.0.1:{server.server_port}/hook")

    with pytest.raises(Exception, match="500"):
        alerts.send("green is late", "run 1")


def test_an_alert_is_sent_by_mail(serve, connect):
    server = serve(socketserver.ThreadingTCPServer, MailServer)
    extra = {"disable_ssl": True, "disable_tls": True, "from_email": "taxi@here.test", "to_email": "oncall@here.test"}
    connect(conn_type="smtp", host="127.0.0.1", port=server.server_address[1], extra=extra)

    alerts.send("green is late", "run <1>")

    assert "Subject: green is late" in server.heard
    assert any("oncall@here.test" in line for line in server.heard if line.lower().startswith("rcpt"))


def test_another_type_of_connection_is_refused(connect, airflow_database):
    connect(conn_type="ftp", host="127.0.0.1")

    with pytest.raises(ValueError, match="'taxi_alerts' is of type 'ftp'; expected http, slackwebhook or smtp"):
        alerts.send("green is late", "run 1")


def test_a_missed_deadline_names_the_run_and_the_time(airflow_database, caplog):
    alerts.deadline_missed({"dag_run": {"dag_id": "a", "dag_run_id": "run 1"}}, within="6 h")

    assert "a: not ended within 6 h of being queued: run run 1" in caplog.text
