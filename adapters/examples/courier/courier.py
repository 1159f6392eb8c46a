#!/usr/bin/env python3
"""A channel of Switchboard over HTTP: Courier, an invented provider, posts what people write and takes answers at its API.

Most providers are like this: a signed webhook, and one call a message. Start an adapter of your own from this file and
../switchboard.py, and let `switchboard adapter check courier.toml` say what is wrong with it.

    pip install nats-py
    COURIER_SECRET=s3cret courier.py --server nats://127.0.0.1:4222 --channel courier --listen 127.0.0.1:7001 \
        --provider http://127.0.0.1:7002
"""

import asyncio
import hashlib
import hmac
import http.client
import json
import logging
import os
import sys
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from switchboard import MAX_INLINE, SEND_TIMEOUT, arguments, now, run  # noqa: E402

TAKE_TIMEOUT = 5.0      # how long the provider waits; then 503, so that it comes again

log = logging.getLogger("courier")


def word(event, key, longest=200):
    """A field that must be a text: what Courier did not promise is not passed on."""
    value = event[key]
    if not isinstance(value, str) or not value or len(value) > longest:
        raise ValueError(key)
    return value


class Courier:
    """What Courier says, and what we ask of it."""

    def __init__(self, switchboard, provider, secret):
        self.switchboard, self.provider, self.secret = switchboard, urlsplit(provider), secret.encode()

    async def hook(self, signature, body):
        """One delivery; the status of the answer. 200 only when everything in it is durable."""
        expected = "sha256=" + hmac.new(self.secret, body, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(expected, signature):
            return 401
        try:
            envelope = self.read(json.loads(body))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            await self.switchboard.unparsed(body, "application/json", f"not an event of Courier: {type(error).__name__}")
            return 200
        await self.switchboard.ingest(envelope)
        return 200

    def read(self, event):
        """An event as an envelope. Its id comes from Courier's own id, so that the same event has the same id whenever it comes."""
        kind, at = word(event, "type"), word(event, "at")
        datetime.fromisoformat(at.replace("Z", "+00:00"))
        if kind == "message":
            key, person = word(event, "id"), word(event, "from")
            return {
                "type": "message", "id": self.switchboard.id("message", key), "thread": person, "at": at, "received_at": now(),
                "from": {"kind": "courier", "value": person, "name": str(event.get("name", person))[:200]},
                "provider_id": key, "content": {"text": word(event, "text", 10_000)},
            }
        if kind == "status":
            key, status = word(event, "message"), {"delivered": "delivered", "seen": "read", "failed": "failed"}[word(event, "status")]
            return {
                "type": "receipt", "id": self.switchboard.id("receipt", f"{key}:{status}"), "provider_id": key, "status": status, "at": at,
            }
        raise ValueError("a type that is not known")

    async def tell(self, send):
        return await asyncio.to_thread(self.call, send)

    def call(self, send):
        """One call, and what it says of the attempt. Until the connection stands nothing has left; afterwards only an answer tells."""
        connection = http.client.HTTPConnection(self.provider.hostname, self.provider.port, timeout=SEND_TIMEOUT)
        try:
            connection.connect()
        except OSError as error:
            return {"outcome": "not_sent", "detail": f"Courier cannot be reached: {error}"}
        try:
            body = json.dumps({"to": send["to"]["value"], "text": send["content"]["text"]})
            connection.request("POST", "/messages", body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return self.judge(answer.status, answer.headers, answer.read(64 * 1024))
        except (OSError, http.client.HTTPException) as error:
            return {"outcome": "unknown", "detail": f"Courier's answer was lost: {type(error).__name__}"}
        finally:
            connection.close()

    def judge(self, status, headers, body):
        try:
            told = json.loads(body)
        except ValueError:
            told = {}
        told = told if isinstance(told, dict) else {}
        if status == 201 and "id" in told:
            return {"outcome": "accepted", "provider_ids": [str(told["id"])]}
        if status == 429:
            seconds = headers.get("Retry-After", "")
            return {"outcome": "not_sent", "code": "429", "detail": "Courier asks us to slow down",
                    "retry_after_ms": int(seconds) * 1000 if seconds.isdecimal() else None}
        if status == 401:
            return {"outcome": "not_sent", "code": "401", "detail": "Courier refuses our account", "channel_refused": True}
        if status in (400, 404, 422):
            return {"outcome": "rejected", "code": str(status), "detail": str(told.get("error", "Courier refuses this message"))}
        return {"outcome": "unknown", "code": str(status), "detail": f"Courier answered {status}"}


def listen(courier, address, loop):
    class Hook(BaseHTTPRequestHandler):
        def do_POST(self):
            length = self.headers.get("Content-Length", "")
            if not length.isdecimal() or int(length) > MAX_INLINE:
                return self.answer(413)
            body = self.rfile.read(int(length))
            taken = asyncio.run_coroutine_threadsafe(courier.hook(self.headers.get("X-Courier-Signature", ""), body), loop)
            try:
                self.answer(taken.result(TAKE_TIMEOUT))
            except Exception as error:          # not durable, so Courier has to come again
                taken.cancel()
                log.warning("a delivery was not taken: %r", error)
                self.answer(503)

        def answer(self, status):
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    class Server(ThreadingHTTPServer):
        request_queue_size = 128        # the usual 5 resets who comes sixth

    Hook.timeout = 10
    host, port = address.rsplit(":", 1)
    server = Server((host, int(port)), Hook)
    Thread(target=server.serve_forever, daemon=True).start()
    log.info("listening on %s:%s", *server.server_address[:2])


async def main():
    parser = arguments(__doc__.split("\n")[0], "courier", "127.0.0.1:7001")
    parser.add_argument("--provider", default="http://127.0.0.1:7002")
    options = parser.parse_args()
    secret = os.environ.get("COURIER_SECRET") or sys.exit("courier: set COURIER_SECRET to the secret of the webhook")

    async def provider(switchboard):
        courier = Courier(switchboard, options.provider, secret)
        listen(courier, options.listen, asyncio.get_running_loop())
        return courier.tell

    await run(options, provider)


if __name__ == "__main__":
    asyncio.run(main())
