#!/bin/sh
# keep_report.sh COMPILER ARGUMENT...: compiles, and keeps what the compiler says in OBJECT.report, OBJECT being the
# argument behind -o. Shows all of it but ptxas' account of registers, which a test reads (tests/compiled_kernels_test.cpp).
object=none
previous=
for word in "$@"; do
  if [ "$previous" = -o ]; then object=$word; fi
  previous=$word
done
"$@" 2>"$object.report"
code=$?
grep -v -e '^ptxas info' -e '^ *[0-9]* bytes stack frame' "$object.report" >&2
exit $code
