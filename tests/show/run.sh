#!/usr/bin/env bash
# Tests of the pages that `wgccl show --html` writes: their pure scripts in Node, the pages in headless Chromium.
#
#   ./tests/show/run.sh          all tests
#   ./tests/show/run.sh --keep   over the pages of the last run
#
# Needs Node 20 and a Chromium: that of WGCCL_CHROMIUM, or one on the path. WGCCL names the program, if not that of this tree.
# Ends with 77 where a tool is absent, with 1 instead if WGCCL_REQUIRE_STEPS=1.
set -euo pipefail
cd "$(dirname "$0")"

absent() {
    echo "pages are not tested: $*" >&2
    [ "${WGCCL_REQUIRE_STEPS:-}" = 1 ] && exit 1
    exit 77
}

command -v node >/dev/null || absent "there is no node"
[ "$(node -p 'process.versions.node.split(".")[0]')" -ge 20 ] || absent "node is older than 20"
browser=${WGCCL_CHROMIUM:-$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)}
[ -n "$browser" ] || absent "there is no chromium"
[ -d node_modules/playwright-core ] || npm ci --no-audit --no-fund || absent "the packages of package-lock.json cannot be had"

pages=../../target/show
if [ "${1:-}" != --keep ]; then
    if [ -z "${WGCCL:-}" ]; then
        # The one that tests run. Of another profile or other packages it would be built again, with all dependencies.
        (cd ../.. && cargo test --quiet --no-run --test cli)
        WGCCL=../../target/debug/wgccl
    fi
    node pages.mjs "$WGCCL" "$pages"
fi
WGCCL_CHROMIUM=$browser WGCCL_PAGES=$pages node --test --test-concurrency=1 model.test.mjs page.test.mjs
