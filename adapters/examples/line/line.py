#!/usr/bin/env python3
"""A channel of Switchboard in another language: people chat over plain TCP, one line a message.

It is small and complete: what is said is durable before it is confirmed, an attempt to send is claimed before its first byte,
and every attempt gets a result. The daemon's side of that is in ../switchboard.py; this is the provider's.

    pip install nats-py
    line.py --server nats://127.0.0.1:4222 --channel line --listen 127.0.0.1:7000
    nc 127.0.0.1 7000
"""

import asyncio
import base64
import logging
import re
import secrets
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from switchboard import SEND_TIMEOUT, arguments, now, run  # noqa: E402

MAX_FILE = 4 * 1024 * 1024
MAX_LINE = 64 * 1024
NAME = re.compile(r"[A-Za-z0-9_-]{1,32}")

log = logging.getLogger("line")


class Line:
    """Who is connected, what they say, and what we tell them."""

    def __init__(self, switchboard):
        self.switchboard, self.people = switchboard, {}

    async def connected(self, reader, writer):
        writer.write(b"* who are you?\n")
        name = None
        try:
            name = (await reader.readline()).decode("utf-8", "replace").strip()
            if not NAME.fullmatch(name):
                writer.write(b"* letters, digits, - and _ only\n")
                return
            self.people[name] = writer
            writer.write(f"* hello {name}; say something, or /file NAME BASE64\n".encode())
            visit, n = secrets.token_hex(8), 0
            while line := await reader.readline():
                n += 1
                # The id is made before the first try, so that every try has the same.
                await self.said(name, f"{visit}-{n}", line.decode("utf-8", "replace").rstrip("\r\n"))
                writer.write(b"* received\n")     # only now: it is durable
        except (ConnectionError, ValueError):
            pass
        finally:
            if self.people.get(name) is writer:
                del self.people[name]
            writer.close()

    async def said(self, name, key, text):
        attachments = []
        if match := re.fullmatch(r"/file (\S{1,100}) ([A-Za-z0-9+/=]+)", text):
            data = base64.b64decode(match[2])
            ref = await self.switchboard.store(name, data)
            attachments = [{"name": match[1], "mime": "application/octet-stream", "size": len(data), "ref": ref}]
            text = ""
        await self.switchboard.ingest({
            "type": "message", "id": self.switchboard.id("message", key), "thread": name, "at": now(), "received_at": now(),
            "from": {"kind": "line", "value": name, "name": name}, "provider_id": key,
            "content": {"text": text, "attachments": attachments},
        })

    async def tell(self, send):
        writer = self.people.get(send["thread"])
        if writer is None:
            return {"outcome": "not_sent", "detail": f"{send['thread']} is not connected", "retry_after_ms": 2000}
        text = " ".join(send["content"]["text"].splitlines())
        try:
            writer.write(f"{text}\n".encode())
            await asyncio.wait_for(writer.drain(), SEND_TIMEOUT)
            return {"outcome": "accepted"}
        except (ConnectionError, asyncio.TimeoutError) as error:
            return {"outcome": "unknown", "detail": f"the connection broke: {error!r}"}


async def main():
    options = arguments(__doc__.split("\n")[0], "line", "127.0.0.1:7000").parse_args()

    async def provider(switchboard):
        line = Line(switchboard)
        host, port = options.listen.rsplit(":", 1)
        server = await asyncio.start_server(line.connected, host, int(port), limit=MAX_FILE * 4 // 3 + MAX_LINE)
        log.info("listening on %s", ":".join(map(str, server.sockets[0].getsockname()[:2])))
        return line.tell

    await run(options, provider)


if __name__ == "__main__":
    asyncio.run(main())
