#!/usr/bin/env python3
"""A channel of Switchboard in another language: people chat over plain TCP, one line a message.

It is small and complete: what is said is durable before it is confirmed, an attempt to send is claimed before its first byte,
and every attempt gets a result. docs/channels/external.md explains the contract, `switchboard schema asyncapi` prints it.

    pip install nats-py
    line.py --server nats://127.0.0.1:4222 --channel line --listen 127.0.0.1:7000
    nc 127.0.0.1 7000
"""

import argparse
import asyncio
import base64
import hashlib
import json
import logging
import re
import secrets
import signal
import time
from datetime import datetime, timezone

import nats
import nats.errors
import nats.js.errors

SEND_TIMEOUT = 5.0      # how long one attempt may take; it must fit before the record's `until`
BEAT = 10.0             # the daemon shows the channel as down after thirty seconds of silence
CHUNK = 128 * 1024      # of a file
MAX_FILE = 4 * 1024 * 1024
MAX_LINE = 64 * 1024
NAME = re.compile(r"[A-Za-z0-9_-]{1,32}")

log = logging.getLogger("line")


def now():
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def sha256(data):
    return hashlib.sha256(data).hexdigest()


class Switchboard:
    """The daemon's side of the adapter: streams, claims and files of one channel on NATS."""

    def __init__(self, client, workspace, channel, prefix):
        self.client, self.js = client, client.jetstream(timeout=5)
        self.workspace, self.channel, self.prefix = workspace, channel, f"{prefix}.{workspace}"

    async def publish(self, subject, payload, headers=None):
        """Publishes until the broker has it. The same bytes under the same id: a repeat changes nothing."""
        while True:
            try:
                return await self.js.publish(subject, payload, headers=headers)
            except (nats.errors.Error, asyncio.TimeoutError) as error:
                if isinstance(error, nats.js.errors.APIError) and error.code and error.code < 500:
                    raise           # refused, and would be again
                log.warning("the broker did not take it, trying again: %r", error)
                await asyncio.sleep(0.2)

    async def ingest(self, envelope):
        envelope = {"v": 1, "channel": self.channel, **envelope}
        subject = f"{self.prefix}.in.{self.channel}"
        await self.publish(subject, json.dumps(envelope).encode(), {"Nats-Msg-Id": envelope["id"]})

    def id(self, kind, key):
        return f"{self.channel}:{kind}:{key}"

    async def store(self, thread, data):
        """Stores a file: its chunks, then the description that names them. What has no description does not exist."""
        scope, digest, name = sha256(f"{self.channel}/{thread}".encode())[:32], sha256(data), f"{self.channel}.{secrets.token_hex(12)}"
        bucket = f"SB_{self.workspace}_BLOBS"
        chunks = [data[at:at + CHUNK] for at in range(0, len(data), CHUNK)]
        for chunk in chunks:
            await self.publish(f"$O.{bucket}.C.{name}", chunk)
        description = {
            "name": f"{self.channel}/{scope}/{digest}", "bucket": bucket, "nuid": name, "size": len(data), "mtime": now(),
            "chunks": len(chunks), "digest": "SHA-256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode(),
        }
        subject = f"$O.{bucket}.M.{self.channel}.{scope}.{digest}"
        await self.publish(subject, json.dumps(description).encode(), {"Nats-Rollup": "sub"})
        return f"blob:sha256:{digest}"

    async def claim(self, send):
        """Whether this attempt is ours: whoever creates the claim owns it, whatever is delivered again, to whom."""
        bucket = f"SB_{self.workspace}_CLAIMS"
        subject = f"$KV.{bucket}.{self.channel}.{send['send']}.{send['part']}.{send['n']}"
        nonce = secrets.token_hex(12).encode()
        while True:
            try:
                await self.js.publish(subject, nonce, headers={"Nats-Expected-Last-Subject-Sequence": "0"})
                return True
            except nats.js.errors.APIError as error:
                if error.err_code != 10071:
                    raise
                held = await self.holder(bucket, subject)
                if held is not None:
                    return held == nonce        # ours, if only the answer was lost
            except (nats.errors.Error, asyncio.TimeoutError) as error:
                log.warning("cannot claim, trying again: %r", error)
            if time.time() > until(send):
                return False
            await asyncio.sleep(0.2)

    async def holder(self, bucket, subject):
        try:
            return (await self.js.get_msg(f"KV_{bucket}", subject=subject, direct=True)).data
        except (nats.errors.Error, asyncio.TimeoutError):
            return None                         # a replica that does not have it yet

    async def result(self, send, outcome, detail=None, retry_after_ms=None):
        key = f"{send['send']}.{send['part']}.{send['n']}:{outcome}"
        await self.ingest({
            "type": "result", "id": self.id("result", key), "send": send["send"], "part": send["part"], "n": send["n"],
            "at": now(), "outcome": outcome, "provider_ids": [], "code": None, "detail": detail, "retry_after_ms": retry_after_ms,
        })

    async def beat(self):
        while True:
            await self.client.publish(f"{self.prefix}.status.{self.channel}", json.dumps({"v": 1, "at": now()}).encode())
            await asyncio.sleep(BEAT)

    async def records(self):
        """OUT records of this channel, for ever. What is not acknowledged within 15 s comes again, to whoever asks."""
        pull = await self.js.pull_subscribe_bind(consumer=self.channel, stream=f"SB_{self.workspace}_OUT")
        while True:
            try:
                for message in await pull.fetch(batch=16, timeout=20):
                    yield message
            except (nats.errors.Error, asyncio.TimeoutError):
                await asyncio.sleep(0.05)     # nothing came, or the broker is away


def until(send):
    return datetime.fromisoformat(send["until"].replace("Z", "+00:00")).timestamp()


class Line:
    """The provider's side: who is connected, what they say, and what we tell them."""

    def __init__(self, switchboard):
        self.switchboard, self.people, self.attempts = switchboard, {}, set()

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

    async def serve(self):
        async for message in self.switchboard.records():
            task = asyncio.create_task(self.attempt(message))
            self.attempts.add(task)
            task.add_done_callback(self.attempts.discard)

    async def attempt(self, message):
        """The four steps: too late is dropped; claim; acknowledge; send and say what came of it."""
        send = json.loads(message.data)
        if send.get("type") != "send" or time.time() > until(send):
            return await message.ack()            # at `until` the router finds no claim, and knows that nothing was sent
        ours = await self.switchboard.claim(send)
        await message.ack()
        if not ours:
            return
        if time.time() + SEND_TIMEOUT > until(send):
            return await self.switchboard.result(send, "not_sent", "too late for an answer before the attempt's end")
        await self.switchboard.result(send, *await self.tell(send))

    async def tell(self, send):
        writer = self.people.get(send["thread"])
        if writer is None:
            return "not_sent", f"{send['thread']} is not connected", 2000
        text = " ".join(send["content"]["text"].splitlines())
        try:
            writer.write(f"{text}\n".encode())
            await asyncio.wait_for(writer.drain(), SEND_TIMEOUT)
            return "accepted", None, None
        except (ConnectionError, asyncio.TimeoutError) as error:
            return "unknown", f"the connection broke: {error!r}", None


async def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("--server", default="nats://127.0.0.1:4222")
    arguments.add_argument("--workspace", default="main")
    arguments.add_argument("--prefix", default="sb")
    arguments.add_argument("--channel", default="line")
    arguments.add_argument("--listen", default="127.0.0.1:7000")
    options = arguments.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")

    # Answers arrive below this, and nowhere else, so that the broker can forbid others to listen.
    inbox = f"_INBOX_{options.prefix.replace('.', '_')}_{options.workspace}_{options.channel}"
    client = await nats.connect(options.server, name=f"line adapter {options.channel}", inbox_prefix=inbox, max_reconnect_attempts=-1)
    switchboard = Switchboard(client, options.workspace, options.channel, options.prefix)
    line = Line(switchboard)
    host, port = options.listen.rsplit(":", 1)
    server = await asyncio.start_server(line.connected, host, int(port), limit=MAX_FILE * 4 // 3 + MAX_LINE)
    log.info("listening on %s", ":".join(map(str, server.sockets[0].getsockname()[:2])))

    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    work = [asyncio.create_task(task) for task in (switchboard.beat(), line.serve())]
    await asyncio.wait([asyncio.create_task(stop.wait()), *work], return_when=asyncio.FIRST_COMPLETED)
    # What is claimed is finished; what is not comes to the next one.
    work[1].cancel()
    if line.attempts:
        await asyncio.wait(line.attempts, timeout=SEND_TIMEOUT)
    await client.drain()
    if not stop.is_set():
        work[0].exception() or work[1].result()


if __name__ == "__main__":
    asyncio.run(main())
