#!/bin/bash
# SPDX-License-Identifier: MIT
# npm @moq/json 0.3.3 with @moq/net 0.3.4, node 18 or later.
# A Snapshot producer and consumer on one track, without a network.
# Expected: the consumer gets the value that was published. The README says that
#   a null is sent as a whole snapshot, because a merge patch (RFC 7396) reads
#   null as a deletion.
# Seen: so it is for a null in an object that was there before. In an object
#   that is new, or takes the place of a number, the null goes out in a patch
#   and its key is lost, without an error. (The crate moq-json 0.5.16 tests for it.)
. "$(dirname "$(readlink -f "$0")")/common.bash"
npm install --silent --no-audit --no-fund --prefix "$T" @moq/json@0.3.3 @moq/net@0.3.4 >/dev/null ||
    { echo "NOT TRIED: @moq/json 0.3.3 cannot be installed here"; exit 2; }
cat >null.mjs <<'J'
import { Snapshot } from '@moq/json';
import { Track } from '@moq/net';

for (const [before, after] of [
  [{ n: 1 }, { n: 1, b: null }],
  [{ a: { n: 1 } }, { a: { n: 1, b: null } }],
  [{ n: 1 }, { n: 1, a: { b: null } }],
  [{ a: 1 }, { a: { b: null } }],
]) {
  const track = new Track.Producer('values').accept({});
  const producer = new Snapshot.Producer({ track });
  const consumer = new Snapshot.Consumer(track.subscribe());
  producer.update(before);
  await consumer.next();
  producer.update(after);
  console.log(JSON.stringify(after), 'arrives as', JSON.stringify(await consumer.next()));
}
process.exit(0);
J
got=$(timeout 60 node null.mjs)
same "values" '{"n":1,"b":null} arrives as {"n":1,"b":null}
{"a":{"n":1,"b":null}} arrives as {"a":{"n":1,"b":null}}
{"n":1,"a":{"b":null}} arrives as {"n":1,"a":{}}
{"a":{"b":null}} arrives as {"a":{}}' "$got"
seen "${got//$'\n'/; }"
