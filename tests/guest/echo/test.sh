# SPDX-License-Identifier: GPL-2.0-only
# Input from a pipe and from a file reaches the guest complete and 8-bit clean.
head -c 20000 /dev/urandom | tr -d '!' >"$T/in"; printf '!' >>"$T/in"
timeout 60 "$LKVM" run --flat "$GUEST" <"$T/in" >"$T/out" 2>"$T/err"
same echo/file-status 0 "$?"
if cmp -s "$T/in" "$T/out"; then ok echo/file; else not_ok echo/file "output differs from input"; fi
(sleep 0.3; cat "$T/in") | timeout 60 "$LKVM" run --flat "$GUEST" >"$T/out" 2>"$T/err"
if cmp -s "$T/in" "$T/out"; then ok echo/pipe; else not_ok echo/pipe "output differs from input"; fi
# On a terminal: Ctrl-A Ctrl-A is one, Ctrl-A x quits, and stty is as before.
export LKVM GUEST T
cat >"$T/expect" <<'X'
log_user 0
set timeout 30
spawn -noecho bash --norc --noprofile
send "PS1=prompt:; before=\$(stty -g); echo rea''dy\r"
expect "ready"
send "$env(LKVM) run --flat $env(GUEST); echo status=\$?; \[ \"\$before\" = \"\$(stty -g)\" \] && echo same''-terminal\r"
expect "Ctrl-A x quits" { puts "announced" }
send "ab\003\001\001c"
expect "ab\003\001c" { puts "echoed" }
send "\001x"
expect "status=130" { puts "quit" }
expect "same-terminal" { puts "restored" }
foreach {signal status} {TERM 143 HUP 129 SEGV 139} {
	send "$env(LKVM) run --flat $env(GUEST); echo status=\$?; \[ \"\$before\" = \"\$(stty -g)\" \] && echo same''-terminal\r"
	expect "Ctrl-A x quits"
	exec pkill -$signal -f -- "--flat $env(GUEST)"
	expect "status=$status" { puts "SIG$signal" }
	expect "same-terminal" { puts "restored" }
}
send "exit\r"
expect eof
X
same echo/terminal "announced echoed quit restored SIGTERM restored SIGHUP restored SIGSEGV restored" \
	"$(expect "$T/expect" | tr -d '\r' | xargs)"
