# SPDX-License-Identifier: MIT
# @moq/publish in Chromium (the page examples/web): a made-up camera and microphone.
source "$(dirname "$0")/common.bash"
source "$HERE/browser.bash"
[ "${1:-}" != install ] || { install_browser; exit; }
VERSION=$(page_version @moq/publish)

# publish_cell FROM URL
publish_cell() {
    local input
    # The page stays for as long as its standard input is open.
    exec {input}<> <(:)
    node "$ROOT/tests/browser/drive.js" publish "$WEB" "url=$2&broadcast=camera.hang" >"$WORK/page-$1.log" 2>&1 <&"$input" &
    local page=$!
    JOBS+=("$page")
    until_true 60 grep -q '^{' "$WORK/page-$1.log" || true
    exec {input}<&-
}
moq_relay relay
publish_cell relay "$url"
receive receive "$url" camera.hang 1 1 || true
received_rows receive 1 1 @moq/publish "$VERSION" "Chromium by moq-relay to moqsrc" WebTransport "moq-lite-04, $(negotiated m receive)" hang legacy
stop "${JOBS[-1]}"

port=$(free_port)
at=http://127.0.0.1:$port/
receive listen - camera.hang 1 1 mode=listen "bind=127.0.0.1:$port" &
receiver=$!
until_true 20 curl -sf "${at}certificate.sha256"
publish_cell listen "$at"
wait "$receiver" || true
received_rows listen 1 1 @moq/publish "$VERSION" "Chromium to moqsrc, listening" WebTransport moq-lite-04 hang legacy
