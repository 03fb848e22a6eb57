#!/usr/bin/env bash
# Every test, or those of one language: test.sh [rust] [python]. Ends with a summary.
"$(dirname "$0")/setup.sh"
. "$(dirname "$0")/lib.sh"

logs=target/test-logs
mkdir -p "$logs"
summary=()
status=0

# run NAME COMMAND...: goes on after a failure, so that the summary tells about everything.
run() {
    local name=$1 start=$SECONDS result=passed
    shift
    say "$name tests"
    "$@" 2>&1 | tee "$logs/$name.log" || { result=FAILED; status=1; }
    summary+=("$(printf '%-7s %s, %s, %ss' "$name" "$result" \
        "$("count_$name" "$logs/$name.log")" $((SECONDS - start)))")
}

test_rust() { cargo test --release --workspace --no-fail-fast; }
count_rust() {
    awk '/^test result:/ { passed += $4; failed += $6; ignored += $8 }
        END { printf "%d passed, %d failed, %d ignored", passed, failed, ignored }' "$1"
}

test_python() { scripts/build.sh && scripts/zope.sh && "$VENV/bin/python" -m pytest; }
count_python() {
    tail -n 1 "$1" | sed 's/^=* *//; s/ in [0-9.]*s.*//'
}

for language in ${*:-rust python}; do
    run "$language" "test_$language"
done

say "Summary"
printf '%s\n' "${summary[@]}"
exit "$status"
