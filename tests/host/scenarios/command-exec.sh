# SPDX-License-Identifier: GPL-2.0-only
# More commands in a VM that runs one: streams, statuses, many at once, clients that go, and its end.
# Modules of its kernels are in /lib/modules.
K=/g/cloud/bzImage
mkdir -p /run
many=$(choose 20 5)
x() { timeout 100 lkvm exec "$@" >/tmp/out 2>/tmp/err </dev/null; status=$?; }
timeout 200 lkvm run -k $K -D --name ex -m 256 -- sleep 10000 >/tmp/out 2>/tmp/err </dev/null
same command-exec/detached "0 ex" "$? $(cat /tmp/out /tmp/err)"
x ex -- sh -c 'echo out; echo err >&2; exit 42'
same command-exec/streams "42 out err" "$status $(cat /tmp/out) $(cat /tmp/err)"
x ex -- sh -c 'kill -9 $$'; same command-exec/killed 137 $status
x ex -- /nonexistent; same command-exec/not-found "127 lkvm: /nonexistent: No such file or directory" "$status $(cat /tmp/err)"
mine=1 x -e A=1 -e mine -w /tmp -u 1234:5 ex -- sh -c 'echo $A$mine; pwd; id -u; id -g; cat'
same command-exec/environment "11 /tmp 1234 5" "$(tr '\n' ' ' </tmp/out | sed 's/ $//')"
head -c 1000000 /dev/urandom >/tmp/mb
same command-exec/through "$(sha256sum </tmp/mb)" "$(timeout 100 lkvm exec -i ex -- cat </tmp/mb 2>/tmp/err | sha256sum)"
for i in $(seq $many); do
	(echo $i | timeout 300 lkvm exec -i ex -- sh -c "read i; sleep 1; echo \$i; exit $i" >/tmp/many$i 2>&1; echo $? >>/tmp/many$i) &
done
wait
same command-exec/many "$(for i in $(seq $many); do printf '%s %s ' $i $i; done)" "$(for i in $(seq $many); do tr '\n' ' ' </tmp/many$i; done)"
# One that stops reading holds up no other; one that is killed ends its command; signals are passed on.
mkfifo /tmp/stops
lkvm exec ex -- yes >/tmp/stops 2>/dev/null & stops=$!
exec 6</tmp/stops
x ex -- echo still; same command-exec/beside-one-that-stops "0 still" "$status $(cat /tmp/out)"
kill -KILL $stops; exec 6<&-
lkvm exec ex -- sh -c 'exec 2>/dev/null; trap "echo hup >/tmp/hup; exit" HUP; echo up; while :; do sleep 0.1; done' >/tmp/out2 2>&1 & killed=$!
i=0; while ! grep -q up /tmp/out2 && [ $i -lt 100 ]; do sleep 1; i=$((i + 1)); done
kill -KILL $killed
x ex -- sh -c 'i=0; while [ ! -s /tmp/hup ] && [ $i -lt 100 ]; do sleep 0.1; i=$((i + 1)); done; cat /tmp/hup'
same command-exec/killed-client hup "$(cat /tmp/out)"
lkvm exec ex -- sh -c 'trap "exit 9" TERM; echo up; while :; do sleep 0.1; done' >/tmp/out3 2>&1 & sent=$!
i=0; while ! grep -q up /tmp/out3 && [ $i -lt 100 ]; do sleep 1; i=$((i + 1)); done
kill -TERM $sent; wait $sent; same command-exec/signal 9 $?
lkvm exec ex -- sh -c 'echo up; sleep 10000' >/tmp/out4 2>&1 & left=$!
i=0; while ! grep -q up /tmp/out4 && [ $i -lt 100 ]; do sleep 1; i=$((i + 1)); done
lkvm stop --force ex; wait $left; same command-exec/vm-ends 255 $?
has command-exec/vm-ends-is-said /tmp/out4 'ended before the command had'
x ex -- true; same command-exec/none 125 $status
