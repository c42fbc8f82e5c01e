# SPDX-License-Identifier: MIT
# Shared by the peers in a browser: the pages of examples/web, and what drives them.
WEB="$INTEROP/web"
install_browser() {
    crate moq-relay "$RELAY_VERSION"
    install_packages chromium
    require_node
    install_npm_packages "$ROOT/examples/web"
    install_npm_packages "$ROOT/tests/browser"
    npm run --silent --prefix "$ROOT/examples/web" build -- --outdir="$WEB" --log-level=error
}
page_version() { node -p "require('$ROOT/examples/web/package.json').dependencies['$1']"; }
# drive LOG MODE PAGE QUERY: whether the page does what tests/browser/drive.js waits for.
drive() {
    timeout --foreground -k 5 70 node "$ROOT/tests/browser/drive.js" "${@:2}" >"$WORK/$1.log" 2>&1 </dev/null
    grep -q '^{' "$WORK/$1.log"
}
