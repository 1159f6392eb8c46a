"""What the example must not do, tried without a broker: `python3 -m unittest line_test` in this folder."""

import asyncio
import logging
import sys
import time
import types
import unittest
from datetime import datetime, timezone

# The client's library need not be installed for this.
nats = types.ModuleType("nats")
nats.errors = types.ModuleType("nats.errors")
nats.js = types.ModuleType("nats.js")
nats.js.errors = types.ModuleType("nats.js.errors")
nats.errors.Error = type("Error", (Exception,), {})
nats.js.errors.APIError = type("APIError", (nats.errors.Error,), {"err_code": 10071, "code": 400})
sys.modules.update({"nats": nats, "nats.errors": nats.errors, "nats.js": nats.js, "nats.js.errors": nats.js.errors})

import line  # noqa: E402
import switchboard  # noqa: E402


class Claims:
    """A broker on which a claim was made that no replica shows."""

    def __init__(self):
        self.asked = 0

    def jetstream(self, timeout):
        return self

    async def publish(self, *_, **__):
        self.asked += 1
        assert self.asked < 1000, "it asks without a pause"
        raise nats.js.errors.APIError

    async def get_msg(self, *_, **__):
        raise nats.errors.Error


class Example(unittest.TestCase):
    def test_a_claim_that_nobody_shows_is_given_up_at_the_attempts_end(self):
        claims = Claims()
        until = datetime.fromtimestamp(time.time() + 0.5, timezone.utc).isoformat()
        send = {"send": "m1", "part": 1, "n": 1, "until": until}
        claim = switchboard.Switchboard(claims, "main", "line", "sb").claim(send)
        self.assertIs(asyncio.run(asyncio.wait_for(claim, 5)), False)
        self.assertLess(claims.asked, 10)

    def test_a_first_line_without_an_end_costs_one_connection_only(self):
        async def visit():
            faults = []
            asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
            server = await asyncio.start_server(line.Line(None).connected, "127.0.0.1", 0, limit=1000)
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
            writer.write(b"x" * 5000)
            try:
                await asyncio.wait_for(reader.read(), 5)
            except ConnectionError:
                pass        # closed with bytes unread
            writer.close()
            server.close()
            await asyncio.sleep(0)
            return faults
        self.assertEqual(asyncio.run(visit()), [])


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    unittest.main()
