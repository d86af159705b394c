# SPDX-License-Identifier: GPL-2.0-only
# Output to every kind of reader: the guest runs on and ends; nothing is lost
# that somebody reads.
run --flat "$GUEST"
same flood/file-bytes 262144 "$(wc -c <"$T/out")"
same flood/pipe-bytes 262144 "$(timeout 60 "$LKVM" run --flat "$GUEST" </dev/null | wc -c)"
timeout 60 "$LKVM" run --flat "$GUEST" </dev/null 2>"$T/err" | head -1 >"$T/out"
same flood/head-status 0 "${PIPESTATUS[0]}"
same flood/head-lines 1 "$(wc -l <"$T/out")"
has flood/head-counted "$T/err" 'bytes of guest output dropped: Broken pipe'
timeout 60 "$LKVM" run --flat "$GUEST" </dev/null >/dev/full 2>"$T/err"
same flood/full-disk-status 0 "$?"
has flood/full-disk-counted "$T/err" 'dropped: No space left on device'
# A reader that has stopped: lkvm leaves it at the time limit, not before.
mkfifo "$T/fifo"
sleep 100 <"$T/fifo" & reader=$!
timeout 60 "$LKVM" run --flat "$GUEST" --timeout 10 </dev/null >"$T/fifo" 2>"$T/err"
same flood/stopped-reader-status 0 "$?"
has flood/stopped-reader-counted "$T/err" 'bytes of guest output dropped'
kill $reader
# One write(2) for many bytes, however slow the guest is under strace (which, as a user, cannot
# read the memory of a process that has confined itself).
timeout 60 strace -f -e trace=write -o "$T/trace" "$LKVM" run --sandbox off --flat "$GUEST" </dev/null >"$T/out"
calls=$(grep -c 'write(.*0123456789' "$T/trace")
if [ "$calls" -gt 0 ] && [ "$calls" -lt 8192 ]; then ok flood/batched; else not_ok flood/batched "$calls writes for 256 KiB"; fi
