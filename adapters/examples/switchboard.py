"""The daemon's side of an adapter in Python: ids, durable publishing, files, claims, results, and that the adapter is there.

Copy this file into an adapter of your own: it knows nothing of any provider. docs/integrators.md leads through it,
docs/channels/external.md explains the contract, and `switchboard schema asyncapi` prints it.
"""

import argparse
import asyncio
import base64
import hashlib
import json
import logging
import secrets
import signal
import sys
import time
from datetime import datetime, timezone

try:
    import nats
    import nats.errors
    import nats.js.errors
except ModuleNotFoundError:
    sys.exit("the Python package nats-py is missing: python3 -m venv .venv && . .venv/bin/activate && pip install nats-py")

SEND_TIMEOUT = 5.0      # how long one attempt may take; it must fit before the record's `until`
GRACE = 10.0            # after the broker was away: time for the daemon to see whether it came back with an older copy of its store
REMEMBERED = 100_000    # attempts that this process made
BEAT = 10.0             # the daemon shows the channel as down after thirty seconds of silence
CHUNK = 128 * 1024      # of a file
MAX_INLINE = 16 * 1024  # of a delivery that could not be read; a longer one is cut

log = logging.getLogger("adapter")


def now():
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def until(send):
    return datetime.fromisoformat(send["until"].replace("Z", "+00:00")).timestamp()


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def attempt_of(data):
    """The record if it is an attempt that this adapter understands. Anything else is acknowledged and left: nothing was claimed,
    so the router finds at `until` that nothing was sent."""
    try:
        send = json.loads(data)
        if send["v"] == 1 and send["type"] == "send":
            until(send), send["send"], send["part"], send["n"], send["thread"], send["content"]["text"]
            return send
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        log.warning("a record that cannot be read is left: %r", error)
    return None


class Switchboard:
    """Streams, claims and files of one channel on NATS."""

    def __init__(self, client, workspace, channel, prefix):
        self.client, self.js = client, client.jetstream(timeout=5)
        self.workspace, self.channel, self.prefix = workspace, channel, f"{prefix}.{workspace}"
        self.attempts = set()
        self.made = {}              # by send and part, the newest attempt that this process claimed
        self.back = float("-inf")   # when the connection last came back

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
        """Tells the router something, and returns when it is durable."""
        envelope = {"v": 1, "channel": self.channel, **envelope}
        subject = f"{self.prefix}.in.{self.channel}"
        await self.publish(subject, json.dumps(envelope).encode(), {"Nats-Msg-Id": envelope["id"]})

    async def unparsed(self, body, content_type, reason):
        """Tells of a genuine delivery that could not be read: it is kept with its bytes, and can be read again after a fix."""
        raw = {"content_type": content_type, "inline": base64.b64encode(body[:MAX_INLINE]).decode()}
        await self.ingest({"type": "unparsed", "id": self.id("unparsed", sha256(body)), "reason": reason, "at": now(), "raw": raw})

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

    async def result(self, send, outcome, **more):
        """Says what came of an attempt; `more`: provider_ids, code, detail, retry_after_ms, channel_refused."""
        key = f"{send['send']}.{send['part']}.{send['n']}:{outcome}"
        await self.ingest({
            "type": "result", "id": self.id("result", key), "send": send["send"], "part": send["part"], "n": send["n"],
            "at": now(), "outcome": outcome, **more,
        })

    async def beat(self):
        while True:
            await self.client.publish(f"{self.prefix}.status.{self.channel}", json.dumps({"v": 1, "at": now()}).encode())
            await asyncio.sleep(BEAT)

    async def records(self):
        """OUT records of this channel, for ever. What is not acknowledged within 15 s comes again, to whoever asks."""
        pull = await self.js.pull_subscribe_bind(consumer=self.channel, stream=f"SB_{self.workspace}_OUT")
        while True:
            await asyncio.sleep(max(0.0, self.back + GRACE - time.monotonic()))
            try:
                # One at a time: the client may sit on the first of a larger batch until the batch is full or the time is over.
                for message in await pull.fetch(batch=1, timeout=20):
                    yield message
            except (nats.errors.Error, asyncio.TimeoutError):
                await asyncio.sleep(0.05)     # nothing came, or the broker is away

    def remember(self, part, n):
        self.made[part] = n
        while len(self.made) > REMEMBERED:
            del self.made[next(iter(self.made))]

    async def serve(self, tell):
        """Takes attempts for ever. `tell(send)` calls the provider, and returns what `result` takes: an outcome, and more."""
        async for message in self.records():
            task = asyncio.create_task(self.attempt(message, tell))
            self.attempts.add(task)
            task.add_done_callback(self.attempts.discard)

    async def attempt(self, message, tell):
        """The four steps: too late is dropped; claim; acknowledge; send and say what came of it."""
        send = attempt_of(message.data)
        if send is None or time.time() > until(send):
            return await message.ack()            # at `until` the router finds no claim, and knows that nothing was sent
        part = (send["send"], send["part"])
        if self.made.get(part, 0) >= send["n"]:
            return await message.ack()            # delivered again; or the broker is an older copy of itself, and its claims know nothing of it
        ours = await self.claim(send)
        if ours:
            self.remember(part, send["n"])
        await message.ack()
        if not ours:
            return
        if time.time() + SEND_TIMEOUT > until(send):
            return await self.result(send, "not_sent", detail="too late for an answer before the attempt's end")
        try:
            result = await tell(send)
        except Exception as error:                # a mistake of ours, after which nobody knows what left
            log.exception("an attempt failed")
            result = {"outcome": "unknown", "detail": f"the adapter failed: {type(error).__name__}"}
        await self.result(send, **result)


def arguments(description, channel, listen):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--server", default="nats://127.0.0.1:4222")
    parser.add_argument("--workspace", default="main")
    parser.add_argument("--prefix", default="sb")
    parser.add_argument("--channel", default=channel)
    parser.add_argument("--listen", default=listen)
    return parser


async def run(options, provider):
    """Connects, lets `provider(switchboard)` begin to listen and return its `tell`, and serves until it is asked to stop."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    # Answers arrive below this, and nowhere else, so that the broker can forbid others to listen.
    inbox = f"_INBOX_{options.prefix.replace('.', '_')}_{options.workspace}_{options.channel}"
    connected = {}

    async def reconnected():
        if "switchboard" in connected:
            connected["switchboard"].back = time.monotonic()

    client = await nats.connect(
        options.server, name=f"adapter {options.channel}", inbox_prefix=inbox, max_reconnect_attempts=-1, reconnected_cb=reconnected,
    )
    switchboard = connected["switchboard"] = Switchboard(client, options.workspace, options.channel, options.prefix)
    tell = await provider(switchboard)

    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    work = [asyncio.create_task(task) for task in (switchboard.beat(), switchboard.serve(tell))]
    await asyncio.wait([asyncio.create_task(stop.wait()), *work], return_when=asyncio.FIRST_COMPLETED)
    # What is claimed is finished; what is not comes to the next one.
    work[1].cancel()
    if switchboard.attempts:
        await asyncio.wait(switchboard.attempts, timeout=SEND_TIMEOUT)
    await client.drain()
    if not stop.is_set():
        for task in work:
            if task.done() and not task.cancelled():
                task.result()
