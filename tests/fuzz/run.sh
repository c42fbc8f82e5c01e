#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Fuzzes with libFuzzer what reads foreign bytes, one target after the other:
#   tests/fuzz/run.sh [SECONDS [TARGET...]]
# Each runs for 600 seconds unless told otherwise. What is found lies in target/fuzz/runs.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source=../../.ci/setup.sh
source .ci/setup.sh

seconds=${1:-600}
targets=("${@:2}")
found=0

require_rust
install_packages "${PACKAGES[@]}"
if ! cargo fuzz --version >/dev/null 2>&1; then
    say "Installing cargo-fuzz"
    cargo install --quiet cargo-fuzz --locked
fi
if [ "${#targets[@]}" -eq 0 ]; then
    mapfile -t targets < <(cargo fuzz list --fuzz-dir tests/fuzz)
fi

# The address sanitizer is an unstable flag, which the stable compiler takes with this alone.
export RUSTC_BOOTSTRAP=1

say "Building (about 15 minutes on 2 cores the first time)"
mkdir -p target/fuzz
if ! cargo fuzz build --fuzz-dir tests/fuzz --target-dir target/fuzz --codegen-units 16 \
    >target/fuzz/log 2>&1; then
    cat target/fuzz/log >&2
    exit 1
fi

# The last value of a statistic that libFuzzer printed.
statistic() {
    { grep -oE "$1 *[0-9]+" "$2" || true; } | tail -n 1 | grep -oE '[0-9]+$' || true
}

host=$(rustc -vV | sed -n 's/^host: //p')
for target in "${targets[@]}"; do
    work=target/fuzz/runs/$target
    log=$work/log
    mkdir -p "$work/corpus" "$work/findings"
    # Leaks are not looked for: GLib keeps its outgrown tables, and GStreamer's parser of caps loses some.
    # An input that takes 10 seconds, or asks for 256 MiB at once, is a finding, too.
    ASAN_OPTIONS=detect_leaks=0 FUZZ_SEEDS=$work/corpus "target/fuzz/$host/release/$target" \
        -artifact_prefix="$work/findings/" -max_total_time="$seconds" -timeout=10 \
        -rss_limit_mb=2048 -malloc_limit_mb=256 -print_final_stats=1 "$work/corpus" \
        >"$log" 2>&1 || found=1
    printf '%-9s %s executions, %s/s, %s edges, %s findings, panics at %s places\n' "$target" \
        "$(statistic 'number_of_executed_units:' "$log")" "$(statistic 'average_exec_per_sec:' "$log")" \
        "$(statistic 'cov:' "$log")" "$(find "$work/findings" -type f | wc -l)" \
        "$(grep -c '^panic, times 1:' "$log" || true)"
done
exit "$found"
