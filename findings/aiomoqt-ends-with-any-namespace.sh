#!/bin/bash
# SPDX-License-Identifier: MIT
# Python packages aiomoqt 0.13.3 with aiopquic 0.6.1, and moq-rs 0.5.1, which is the relay; Python 3.12 or later.
# A publisher of aiomoqt announces a namespace on moq-transport-14, 16 and 18.
#   Another publisher announces another one, and ends it after 1 s.
# Expected: nothing. PUBLISH_NAMESPACE_DONE names the namespace that ended, and
#   a relay tells all sessions that may care.
# Seen: on 14 and 16 aiomoqt closes its own session, "publisher namespace done":
#   its publishers end with anybody's broadcast. On 18 they stay.
. "$(dirname "$(readlink -f "$0")")/common.bash"
for python in python3 python3.13 python3.12 "$HOME"/.pyenv/versions/3.1[2-9].*/bin/python3; do
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null && break
    python=
done
[ -n "$python" ] && "$python" -m venv venv && venv/bin/pip install -q aiomoqt==0.13.3 aiopquic==0.6.1 moq-rs==0.5.1 ||
    { echo "NOT TRIED: aiomoqt 0.13.3 or moq-rs 0.5.1 cannot be installed here"; exit 2; }
cat >sessions.py <<'P'
import asyncio
import moq
from aiomoqt.client import MOQTClient

async def relay(server):
    sessions = []
    async for request in server:
        sessions.append(await request.accept())

async def announce(draft, port, fingerprint):
    """How long the session of a publisher of aiomoqt lasts after another namespace has ended, 5 s at most."""
    client = MOQTClient("127.0.0.1", port, path="", use_quic=False, supported_drafts=draft, verify_tls=False)
    async with client.connect() as session:
        await session.client_session_init()
        await session.publish_namespace(namespace=f"mine{draft}", wait_response=True)
        async with moq.Client(f"https://127.0.0.1:{port}", tls_fingerprints=[fingerprint]) as other:
            broadcast = other.create_broadcast(f"other{draft}")
            broadcast.publish_track("t")
            broadcast.announce()
            await asyncio.sleep(1)
            broadcast.close()
        try:
            await asyncio.wait_for(session.async_closed(), 5)
            print(f"draft {draft}: closed", flush=True)
        except asyncio.TimeoutError:
            print(f"draft {draft}: open", flush=True)

async def main():
    origin = moq.OriginProducer()
    async with moq.Server("127.0.0.1:0", tls_generate=["localhost"], publish=origin, subscribe=origin) as server:
        port = int(server.local_addr.rsplit(":", 1)[1])
        fingerprint = server.cert_fingerprints()[0]
        task = asyncio.create_task(relay(server))
        for draft in (14, 16, 18):
            await asyncio.wait_for(announce(draft, port, fingerprint), 15)
        task.cancel()
asyncio.run(main())
P
got=$(timeout 60 venv/bin/python sessions.py 2>/dev/null) || true
same "sessions" "draft 14: closed
draft 16: closed
draft 18: open" "$got"
seen "${got//$'\n'/; }"
