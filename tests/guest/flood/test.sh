# SPDX-License-Identifier: GPL-2.0-only
# Output to every kind of reader: the guest runs on and ends; nothing is lost
# that somebody reads. 80 KiB, more than a pipe holds, or with FULL=1 256 KiB; in an emulated host, where
# each exit takes long and each byte is one, 10 KiB for readers who read.
cp "$GUEST" "$T/guest"; GUEST=$T/guest
# prints LINES: so many of 64 bytes; the count is in the guest's first instruction.
prints() { printf "$(printf '\\x%02x\\x%02x' $(($1 & 255)) $(($1 >> 8)))" | dd of="$GUEST" bs=1 seek=2 conv=notrunc status=none; }
lines=1280; [ -z "$FULL" ] || lines=4096
[ "$every" = 1 ] || lines=160
bytes=$((64 * lines))
prints $lines
LIMIT=120 run --flat "$GUEST"
same flood/file-bytes $bytes "$(wc -c <"$T/out")"
same flood/pipe-bytes $bytes "$(timeout 120 "$LKVM" run --flat "$GUEST" </dev/null | wc -c)"
timeout 120 "$LKVM" run --flat "$GUEST" </dev/null 2>"$T/err" | head -1 >"$T/out"
same flood/head-status 0 "${PIPESTATUS[0]}"
same flood/head-lines 1 "$(wc -l <"$T/out")"
has flood/head-counted "$T/err" 'bytes of guest output dropped: Broken pipe'
timeout 120 "$LKVM" run --flat "$GUEST" </dev/null >/dev/full 2>"$T/err"
same flood/full-disk-status 0 "$?"
has flood/full-disk-counted "$T/err" 'dropped: No space left on device'
# A reader that has stopped, with its pipe full: lkvm leaves it at the time limit, not before.
mkfifo "$T/fifo"
sleep 100 <"$T/fifo" & reader=$!
timeout 1 cat /dev/zero >"$T/fifo"
timeout 120 "$LKVM" run --flat "$GUEST" --timeout 60 </dev/null >"$T/fifo" 2>"$T/err"
same flood/stopped-reader-status 0 "$?"
has flood/stopped-reader-counted "$T/err" 'bytes of guest output dropped'
kill $reader
# One write(2) for many bytes, however slow the guest is under strace (which, as a user, cannot
# read the memory of a process that has confined itself).
timeout 120 strace -f --seccomp-bpf -e trace=write -o "$T/trace" "$LKVM" run --sandbox off --flat "$GUEST" </dev/null >"$T/out"
calls=$(grep -c 'write(.*0123456789' "$T/trace")
if [ "$calls" -gt 0 ] && [ "$calls" -lt $((bytes / 32)) ]; then ok flood/batched; else not_ok flood/batched "$calls writes for $bytes bytes"; fi
