#!/usr/bin/env bash
# Runs every fuzz target: fuzz.sh [SECONDS] [TARGET...], the seconds shared between them.
# What is found goes to rust/fuzz/artifacts/TARGET; give the file to the target to replay it.
. "$(dirname "$0")/lib.sh"

seconds=${1:-60}
[ $# = 0 ] || shift

# libFuzzer without nightly: the coverage pass is asked from LLVM directly.
export RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module \
-Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
-Cllvm-args=-sanitizer-coverage-pc-table"
# With --target these flags spare build scripts and procedural macros, which could not be linked.
host=$(rustc -vV | sed -n 's/^host: //p')
manifest=rust/fuzz/Cargo.toml
cargo build --release --manifest-path $manifest --target "$host" --bins

targets=("$@")
[ ${#targets[@]} != 0 ] || mapfile -t targets < <(
    cargo metadata --manifest-path $manifest --no-deps --format-version 1 | python3 -c '
import json, sys
for package in json.load(sys.stdin)["packages"]:
    for target in package["targets"]:
        if "bin" in target["kind"]:
            print(target["name"])')
[ ${#targets[@]} != 0 ] || die "No target in $manifest"

each=$((seconds / ${#targets[@]}))
[ "$each" != 0 ] || each=1
executions=0
failed=()
for target in "${targets[@]}"; do
    say "$target, ${each}s"
    corpus=rust/fuzz/corpus/$target artifacts=rust/fuzz/artifacts/$target
    mkdir -p "$corpus" "$artifacts" target/fuzz-logs
    directories=("$corpus")
    [ ! -d "rust/fuzz/seeds/$target" ] || directories+=("rust/fuzz/seeds/$target")
    "rust/fuzz/target/$host/release/$target" -max_total_time=$each -timeout=10 \
        -rss_limit_mb=2048 -print_final_stats=1 -artifact_prefix="$artifacts/" \
        "${directories[@]}" >"target/fuzz-logs/$target.log" 2>&1 || failed+=("$target")
    count=$(sed -n 's/^stat::number_of_executed_units: *//p' "target/fuzz-logs/$target.log")
    # A target that never got as far as its statistics did not fuzz.
    [ "${count:-0}" != 0 ] || [[ " ${failed[*]-} " == *" $target "* ]] || failed+=("$target")
    executions=$((executions + ${count:-0}))
    case " ${failed[*]-} " in
        *" $target "*) tail -n 40 "target/fuzz-logs/$target.log" ;;
        *) tail -n 8 "target/fuzz-logs/$target.log" ;;
    esac
done

say "$executions executions, ${#targets[@]} targets, ${#failed[@]} failed: ${failed[*]-}"
[ ${#failed[@]} = 0 ]
