# SPDX-License-Identifier: GPL-2.0-only
# hvc0 as the terminal: 10 MB (FULL=1: 100) both ways, a megabyte pasted, a reader that stops, the
# window's size, keys after Ctrl-A, suspending, and the console log.
bytes=10000000
[ -z "$FULL" ] || [ -n "$VARIANT" ] || bytes=100000000
head -c $bytes /dev/urandom >"$T/in"
sum=$(sha256sum <"$T/in")
for transport in pci mmio; do
	got=$(timeout 120 "$LKVM" run -k "$GUESTS/elf64" -m 64 --console virtio --transport $transport -p attack=$bytes \
		<"$T/in" 2>"$T/err" | sha256sum)
	same "hvc/$transport/$bytes" "$sum" "$got"
done
# A reader that stops for ten seconds holds the guest back; all arrives.
[ -n "$VARIANT" ] || {
	got=$(timeout 120 "$LKVM" run -k "$GUESTS/elf64" -m 64 --console virtio -p attack=$bytes \
		<"$T/in" 2>"$T/err" | (sleep 10; sha256sum))
	same hvc/slow-reader "$sum" "$got"
}
# A driver that waits actively is held for a second, as on ttyS0; then the oldest output goes.
mkfifo "$T/stopped"
exec 7<>"$T/stopped"
timeout 60 "$LKVM" run -k "$GUESTS/elf64" -m 64 --console virtio --console-log "$T/hold.log" -p attack=hold >"$T/stopped" 2>"$T/err" </dev/null & pid=$!
wait_for 10 grep -qa SENT "$T/hold.log" && ok hvc/held-for-a-second || not_ok hvc/held-for-a-second "$(tail -c 200 "$T/err")"
kill $pid; wait $pid; exec 7>&-
has hvc/held-counted "$T/err" 'console: [0-9]* bytes of guest output dropped: nobody read them'
# One that goes is missed by nobody.
timeout 120 "$LKVM" run -k "$GUESTS/elf64" -m 64 --console virtio -p attack=$bytes <"$T/in" 2>"$T/err" | head -c 10 >/dev/null
same hvc/closed-reader 0 "${PIPESTATUS[0]}"
# A guest that takes no input: its writer is held back, memory stays as it is.
mkfifo "$T/fifo"
"$LKVM" run -k "$GUESTS/elf64" -m 64 --console virtio --console-log "$T/log" -p attack=stall <"$T/fifo" >"$T/out" 2>"$T/err" & pid=$!
exec 8>"$T/fifo"
wait_for 10 grep -q UP "$T/log"
rss() { awk '/^(RssAnon|RssFile)/ { n += $2 } END { print n }' /proc/$(vm_of $pid)/status; }
# One huge page more may be anybody's (the guest's, a stack's); what is kept would be all of it.
limit=4096
before=$(rss); timeout 1 cat "$T/in" >&8 2>/dev/null; after=$(rss)
[ -n "$after" ] && [ $((after - before)) -le $limit ] && ok hvc/no-buffers ||
	not_ok hvc/no-buffers "before $before kB, after $after kB"
exec 8>&-; kill $pid; wait $pid
same hvc/no-buffers-status 143 $?

# On a terminal of 30 by 90.
export LKVM GUESTS T
head -c 750000 "$T/in" | base64 -w 72 >"$T/paste"	# about 1 MB, in lines
cat >"$T/expect" <<'X'
log_user 0
set timeout 60
proc seen {pattern word} { expect $pattern { puts $word } timeout { puts "no-$word" } }
proc check_stty {} { send "\[ \"\$before\" = \"\$(stty -g)\" \] && echo same''-terminal\r"; seen "same-terminal" restored }
spawn -noecho bash --norc --noprofile
stty rows 30 columns 90 < $spawn_out(slave,name)
send "PS1=prompt:; set -m; before=\$(stty -g); echo rea''dy\r"
expect "ready"
set run "$env(LKVM) run -k $env(GUESTS)/elf64 -m 64 --console virtio --console-log $env(T)/tlog -p attack="
send "${run}100000; echo status=\$?\r"
seen "Ctrl-A x quits" announced
send "one\n"
seen "one\n" echoed
send "\001?"
seen "Ctrl-A then x: quit" helped
send "\001z"
seen "prompt:" suspended
check_stty
send "echo fo''und; jobs\r"
seen "Stopped" stopped
send "fg\r"
expect "elf64"
sleep 1	;# as people do: before that the terminal is the shell's
send "two\n\003\001\001"
seen "two\n\003\001" resumed
exec pkill -TSTP -f -- "-k $env(GUESTS)/elf64"
seen "prompt:" suspended-by-signal
check_stty
send "fg\r"
expect "elf64"
sleep 1	;# as people do: before that the terminal is the shell's
send "three\n"
seen "three\n" resumed
exec pkill -STOP -f -- "-k $env(GUESTS)/elf64"
seen "prompt:" stopped
check_stty
send "fg\r"
expect "elf64"
sleep 1	;# as people do: before that the terminal is the shell's
send "four\n"
seen "four\n" resumed
send "\001x"
expect "prompt:"
send "echo status=\$?\r"
seen "status=130" quit
check_stty
# A paste: every byte comes back.
send "${run}[file size $env(T)/paste] >$env(T)/pasted; echo status=\$?\r"
seen "Ctrl-A x quits" announced
set f [open $env(T)/paste]
while {[set part [read $f 20000]] ne ""} { send -- $part }
seen "status=0" pasted
check_stty
# A disk that is full: the log ends, the VM and the terminal do not.
send "$env(LKVM) run -k $env(GUESTS)/elf64 -m 64 --console virtio --console-log /dev/full -p attack=100; echo status=\$?\r"
seen "the log ends here" full
send "\001x"
seen "status=130" quit
check_stty
send "exit\r"
expect eof
X
same hvc/terminal "announced echoed helped suspended restored stopped resumed suspended-by-signal restored resumed stopped restored resumed quit restored announced pasted restored full quit restored" \
	"$(expect "$T/expect" | tr -d '\r' | xargs)"
same hvc/paste 0 "$(cmp "$T/paste" "$T/pasted" >/dev/null; echo $?)"
has hvc/size "$T/tlog" '^UP 5ax1e'
# The log: both consoles; renamed, and opened again on SIGHUP; nobody dies of it. The new file is there a moment
# before the VM writes to it: lines are typed until one is in it, then the rest, and each is in one of the two.
rm -f "$T/log"
mkfifo "$T/keys"
seq -f 'line %04g' 200 >"$T/lines"
"$LKVM" run -k "$GUESTS/elf64" -m 64 --console virtio --console-log "$T/log" -p attack=2006 <"$T/keys" >"$T/out" 2>"$T/err" & pid=$!
exec 7>"$T/keys"
echo first >&7
wait_for 20 grep -q first "$T/log"
mv "$T/log" "$T/log.1"; kill -HUP $pid
while read -r line; do
	echo "$line" >&7
	grep -qs line "$T/log" || sleep 0.1
done <"$T/lines"
exec 7>&-
wait $pid
same hvc/log-status 0 $?
has hvc/log-serial "$T/log.1" '^UP'
has hvc/log-before "$T/log.1" '^first'
has hvc/log-after "$T/log" '^line 0200'
same hvc/log-whole "$(md5sum <"$T/lines")" "$(cat "$T/log.1" "$T/log" | tr -d '\r' | grep -a '^line' | md5sum)"
