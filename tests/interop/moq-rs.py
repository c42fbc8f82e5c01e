# SPDX-License-Identifier: MIT
"""Subscribes to a broadcast or publishes a fragmented MP4 file with the package moq-rs.

    moq-rs.py subscribe URL BROADCAST FRAMES TRACK...
    moq-rs.py publish URL BROADCAST FILE

Prints the tracks of each catalog, and a track's name and how many frames it gave, each time that it gave some.
"""
import asyncio
import struct
import sys

import moq

FRAME_RATE = 25


async def count(broadcast, name, track, wanted):
    frames = await broadcast.subscribe_media(name, track)
    got = 0
    async with frames:
        async for frame in frames:
            got += len(frame.payload) > 0
            print(name, got, flush=True)
            if got == wanted:
                return


async def subscribe(url, path, wanted, *names):
    async with moq.connect(url) as client:
        broadcast = await client.announced_broadcast(path)
        async for catalog in await broadcast.subscribe_catalog():
            tracks = {**catalog.video, **catalog.audio}
            print("tracks", *sorted(tracks), flush=True)
            # A track may come later than the others.
            if tracks.keys() >= set(names):
                break
        await asyncio.gather(*(count(broadcast, name, tracks[name], int(wanted)) for name in names))


def boxes(data):
    at = 0
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        yield kind, data[at:at + size]
        at += size


async def publish(url, path, file):
    async with moq.connect(url) as client:
        broadcast = client.create_broadcast(path)
        media = broadcast.publish_container_stream(moq.ContainerFormat.FMP4)
        broadcast.announce()
        for kind, box in boxes(open(file, "rb").read()):
            if kind == b"moof":
                # One of three fragments is video.
                await asyncio.sleep(1 / FRAME_RATE / 3)
            media.write(box)
        media.finish()
        await asyncio.sleep(1)
        broadcast.close()


mode, *arguments = sys.argv[1:]
asyncio.run({"subscribe": subscribe, "publish": publish}[mode](*arguments))
