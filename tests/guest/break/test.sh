# SPDX-License-Identifier: GPL-2.0-only
# Ctrl-A b is a break on the serial line, once, before the keys that follow.
export LKVM GUEST
cat >"$T/expect" <<'X'
log_user 0
set timeout 20
spawn -noecho bash -c "$env(LKVM) run --flat $env(GUEST); echo status=\$?"
# The guest may be quicker than what is said of it.
expect -re "x quits.*>|>.*x quits" {} timeout { puts "not ready" }
send "abc\001bk"
expect {
	"kstatus=0" { puts "break" }
	timeout { puts "no break" }
	eof { puts "ended early" }
}
X
same break/key break "$(expect "$T/expect" | tr -d '\r' | xargs)"
