# SPDX-License-Identifier: GPL-2.0-only
# A command that runs, and reads directories, is saved and goes on in another VM: with what it had read, its streams, and
# its status. What is random in one clone is not in the other.
# Modules of its kernels are in /lib/modules.
mkdir -p /run /tmp/d /tmp/other

# when SECONDS COMMAND...: as soon as it succeeds; fails if it never does.
when() { local n=$1; shift; while ! "$@" 2>/dev/null; do n=$((n - 1)); [ $n -gt 0 ] || return 1; sleep 1; done; }
reached() { [ "$(grep -c '^at ' /tmp/first)" -ge $1 ]; }
for i in $(seq 10 49); do head -c 70000 /dev/urandom >/tmp/d/f$i; done
(cd /tmp/d && for i in $(seq 10 49); do echo "at $i $(sha256sum <f$i | head -c 8)"; done) >/tmp/sums
sleep 2	# a file system that was written a moment ago may change without a change of its times
cat >/tmp/d/work <<'C'
ls -l /d >/tmp/list
for i in $(seq 10 49); do
	echo "at $i $(sha256sum <f$i | head -c 8)"
	head -c 8 /dev/urandom | od -An -tx1 | sed 's/^/random/' >&2
	sleep 0.3
done
echo to stderr >&2
read -r line
echo "read $line"
cp /tmp/list /out/; echo "$line" >/out/line
exit 7
C
# Its stdin stays open: what is said to the other VM is for the command.
mkfifo /tmp/in; sleep 10000 >/tmp/in & holder=$!
timeout 500 lkvm run --name first -k /g/cloud/bzImage -m 192 -w /d --dir /tmp/d:/d --out /tmp/o -- sh work >/tmp/first 2>/tmp/first.err </tmp/in & pid=$!
when 240 reached 3 || { not_ok command-snapshot/starts "$(tail /tmp/first /tmp/first.err)"; return 1; }
# While another command runs in it, it is not.
timeout 100 lkvm exec first -- sleep 1000 >/tmp/exec 2>&1 </dev/null & session=$!
when 60 lkvm exec first -- true
lkvm snapshot first /tmp/s >/tmp/said 2>&1; same command-snapshot/exec-status 1 $?
has command-snapshot/exec-says /tmp/said 'another command runs in it \(lkvm exec\)$'
kill $session; wait $session
when 60 lkvm snapshot first /tmp/s >/tmp/said 2>&1 || not_ok command-snapshot/saved "$(cat /tmp/said)"
n=$(grep -c '^at ' /tmp/first)
when 100 reached $((n + 2)) && ok command-snapshot/goes-on || not_ok command-snapshot/goes-on "$(tail /tmp/first.err)"
lkvm snapshot first /tmp/s --stop >/tmp/said 2>&1; same command-snapshot/stopped "0 " "$? $(cat /tmp/said)"
wait $pid; same command-snapshot/status 0 $?
kill $holder
# What it has not read yet, and has seen, is another file now: no other data are given for it.
echo more >>/tmp/d/f48
for i in 1 2; do
	echo typed | timeout 500 lkvm run --name clone$i --restore /tmp/s --dir /tmp/d:/d --out /tmp/o$i >/tmp/clone$i 2>/tmp/clone$i.err & eval pid$i=$!
done
in_clone() { timeout 60 lkvm exec clone1 -- sha256sum /d/f12 >/tmp/exec 2>&1 </dev/null; }
when 60 in_clone
same command-snapshot/exec-in-clone "$(sha256sum </tmp/d/f12 | cut -c1-64)" "$(cut -c1-64 /tmp/exec)"
lkvm list --json >/tmp/list; has command-snapshot/parent /tmp/list '"name":"clone1",[^{]*"parent":"/tmp/s"'
for i in 1 2; do
	eval wait \$pid$i; same command-snapshot/clone-$i-status 7 $?
	cat /tmp/first /tmp/clone$i >/tmp/all
	same command-snapshot/clone-$i-output "$(grep -v '^at 48' /tmp/sums; echo read typed)" "$(grep -v '^at 48' /tmp/all)"
	same command-snapshot/clone-$i-changed 0 "$(grep '^at 48' /tmp/sums | grep -cxFf /tmp/all)"
	has command-snapshot/clone-$i-says /tmp/clone$i.err '^lkvm: directory: /tmp/d/f48: it has changed$'
	same command-snapshot/clone-$i-results "line list typed" "$(cd /tmp/o$i && echo * $(cat line))"
	has command-snapshot/clone-$i-errors /tmp/clone$i.err '^to stderr$'
done
[ -e /tmp/o ] && not_ok command-snapshot/no-results-of-the-first || ok command-snapshot/no-results-of-the-first
# This kernel has no driver for the generation ID. The seed comes when its first process has its turn.
for i in 1 2; do grep ^random /tmp/clone$i.err | tail -n +4 | sort >/tmp/random$i; done
same command-snapshot/random "" "$(comm -12 /tmp/random1 /tmp/random2)"
[ -s /tmp/random1 ] && ok command-snapshot/random-there || not_ok command-snapshot/random-there
# Others than it had.
run --restore /tmp/s --dir /tmp/d:/d; same command-snapshot/no-out 125 $status
has command-snapshot/no-out-says /tmp/err '^lkvm: restore: /tmp/s: its command has results \(--out\), and the command line names no place for them$'
run --restore /tmp/s --out /tmp/o; same command-snapshot/too-few 125 $status
has command-snapshot/too-few-says /tmp/err '^lkvm: restore: /tmp/s: its guest has 2 directories, and the command line names 1$'
run --restore /tmp/s --dir /tmp/other:/d --out /tmp/o; same command-snapshot/other 125 $status
has command-snapshot/other-says /tmp/err '^lkvm: restore: directory 1: another one than it had, or it has been replaced since$'
