# SPDX-License-Identifier: GPL-2.0-only
# A command in a VM: its output, its status, its files. One check, or some, for each of the things
# that people do with it; the guests are cloud but where another kernel is named.
# Modules of its kernels are in /lib/modules.
K=/g/cloud/bzImage
release=$(cd /lib/modules && ls -d *cloud* | head -n 1)
# command ARGUMENTS: as run, with the kernel.
command_() { run -k $K "$@"; }
# of KERNEL TRANSPORT: what is next has that one; otherwise it would be a boot more for each.
of() { K=/g/$1/bzImage; where="--transport $2" version=$(cat /g/$1/version); }

# A kernel says what it is, and nothing else is on stdout.
for k in $(choose "cloud.pci cloud.mmio generic.pci generic.mmio cloud612.pci cloud612.mmio generic612.pci generic612.mmio" ""); do
	t=${k#*.} k=${k%.*}
	timeout 180 lkvm run -k /g/$k/bzImage --transport $t -- uname -r >/tmp/out 2>/tmp/err </dev/null
	same command/uname-$k-$t "0 $(cat /g/$k/version)" "$? $(cat /tmp/out)"
	same command/uname-$k-$t-says-nothing "" "$(cat /tmp/err)"
done


# Three streams, each to its last byte.
head -c 8000000 /dev/urandom >/tmp/big
sum=$(sha256sum </tmp/big)
timeout 180 lkvm run -k $K -- sh -c 'uname -r; sha256sum; echo err >&2' </tmp/big >/tmp/out 2>/tmp/err
same command/stdin-and-stdout "0 $(cat /g/cloud/version) $sum" "$? $(echo $(head -n 1 /tmp/out)) $(tail -n +2 /tmp/out)"
same command/stderr err "$(cat /tmp/err)"

# The environment is its own.
of generic mmio
LANG=xx TERM=vt100 mine=1 command_ $where -e A=1 -e mine -e none -e B= -w /tmp -- sh -c 'uname -r; env; pwd; id -u; ifconfig lo; ls -d /proc/1 /sys/kernel /dev/null /dev/pts/ptmx /dev/shm /run'
same command/uname-generic "$version " "$(head -n 1 /tmp/out) $(cat /tmp/err)"
for v in A=1 mine=1 B= HOME=/root USER=root TERM=vt100 LANG=xx PATH=.*/bin /tmp 0; do has "command/environment-$v" /tmp/out "^$v\$"; done
has command/lo /tmp/out 'inet addr:127.0.0.1'
same command/nothing-else "" "$(grep -E '^(LKVM|XDG|none|OLDPWD)' /tmp/out)"
same command/mounts 6 "$(grep -cE '^/(proc/1|sys/kernel|dev/null|dev/pts/ptmx|dev/shm|run)$' /tmp/out)"

# What it writes does not last, and what is there is as it is here.
echo before >/mine; chmod 600 /mine
of cloud612 mmio
command_ $where -- sh -c 'cat /mine; echo x >/mine; rm -r /lib.sh; touch /root2; cat /mine; ls -l /mine; uname -r'
same command/uname-cloud612 "$version " "$(tail -n 1 /tmp/out) $(cat /tmp/err)"
same command/files-are-there "before x" "$(head -n 2 /tmp/out | tr '\n' ' ' | sed 's/ $//')"
has command/mode-is-kept /tmp/out '^-rw------- +1 0 +0 '
same command/host-is-unchanged "before yes no" "$(cat /mine) $([ -e /lib.sh ] && echo yes) $([ -e /root2 ] || echo no)"
mkdir -p /r/bin /r/etc; cp /bin/busybox /r/bin/; ln -s busybox /r/bin/sh; chown -R 1234:1234 /r
mkdir -p /w/sub; echo there >/w/sub/file
of generic612 pci
(cd /w/sub && timeout 180 lkvm run -k $K $where --root /r --dir /w --dir /w/sub:/else/where -- sh -c 'busybox pwd; busybox cat file /else/where/file; echo x >file
	/bin/busybox ls -ln /bin/busybox; cd /; echo *; busybox uname -r' >/tmp/out 2>/tmp/err </dev/null)
same command/uname-generic612 "$version " "$(tail -n 1 /tmp/out) $(cat /tmp/err)"
has command/root /tmp/out '^bin dev else etc proc run sys tmp w$'
has command/root-keeps-owners /tmp/out ' 1234 +1234 '
same command/dirs "/w/sub there there" "$(head -n 3 /tmp/out | tr '\n' ' ' | sed 's/ $//')"
same command/dirs-are-unchanged there "$(cat /w/sub/file)"

# An archive as the root, and what comes back.
of cloud pci
tar -C /r -cf /tmp/r.tar .
command_ --root /lib.sh -- true; same command/no-archive 125 $status
rm -rf /o
command_ --root /tmp/r.tar --out /o -- sh -c 'b=/bin/busybox; cd /; echo *; $b dmesg >/out/dmesg; $b mkdir /out/d; $b ln -s ../../etc/passwd /out/evil
	$b ln -s /etc /out/etc; echo x >/out/d/x; $b chmod 4755 /out/d/x'
same command/archive "bin dev etc out proc run sys tmp" "$(cat /tmp/out)"
same command/out "0 d dmesg etc evil x ../../etc/passwd" "$status $(ls /o | tr '\n' ' ')$(cat /o/d/x) $(readlink /o/evil)"
has command/out-dmesg /o/dmesg 'Linux version'
same command/out-is-not-set-uid 755 "$(stat -c %a /o/d/x)"
rm -rf /o; mkdir /o; echo mine >/o/mine
# A crash is no success, and is shown.
command_ --out /o --json /tmp/json -- sh -c 'echo x >/out/y; echo c >/proc/sysrq-trigger'
same command/out-of-the-lost "255 mine" "$status $(ls -A /o)"
has command/panic-is-shown /tmp/err 'Kernel panic - not syncing: sysrq triggered crash'
has command/panic-json /tmp/json '"outcome":"panic","status":255,'

# A kernel that lacks something is told so.
command_ --modules off -- true
same command/no-modules 255 $status
has command/no-modules-is-shown /tmp/err 'this kernel finds no virtio device'

[ -e /full ] || return 0
# Its status is ours (guest/command, host/command-exec and host/command-init have these, too). It ends what init has started,
# and init goes on.
command_ --json /tmp/json -- sh -c 'sleep 1000 & kill -9 -1; kill -9 $$'; same command/killed 137 $status
has command/killed-json /tmp/json '"outcome":"signaled","status":137,"signal":9,'
command_ -- /nonexistent; same command/not-found 127 $status
has command/not-found-names-it /tmp/err '^lkvm: /nonexistent: No such file or directory$'
# Many at once; host/running has two.
for i in 1 2 3 4 5 6 7 8; do
	(timeout 400 lkvm run -k $K -m 128 --timeout 390 -- sh -c "exit $((40 + i))" >/tmp/many$i 2>&1 </dev/null; echo $? >/tmp/status$i) &
done
wait
same command/many "$(for i in 1 2 3 4 5 6 7 8; do echo -n "$((40 + i)) "; done)" "$(cat /tmp/status[1-8] | tr '\n' ' ')"
same command/many-say-nothing "" "$(cat /tmp/many*)"
command_ --json /tmp/json -- /nonexistent; has command/not-found-json /tmp/json '"outcome":"exited","status":127,"exit_code":127,'
command_ -- /lib.sh; same command/not-executable 126 $status
has command/not-executable-names-it /tmp/err '^lkvm: /lib.sh: Permission denied$'
command_ -- sh -c 'sleep 1000 & kill -9 -1; exit 3'; same command/kills-all 3 $status
printf 'a\nb\n' | timeout 180 lkvm run -k $K -- wc -l >/tmp/out 2>/tmp/err; same command/stdin 2 "$(tr -d ' ' </tmp/out)"
command_ -- sh -c 'exit 42'; same command/exit 42 $status
command_ --json /tmp/json -- poweroff -f; same command/poweroff 255 $status
has command/poweroff-json /tmp/json '"outcome":"poweroff","status":255,'
# Time and signals end it, and nothing is left.
command_ --timeout 8 -- sleep 1000; same command/timeout 124 $status
same command/timeout-leaves-nothing "" "$(pidof lkvm)"
lkvm run -k $K -- sh -c 'echo up; sleep 1000' >/tmp/out 2>/tmp/err </dev/null & pid=$!
i=0; while ! grep -q up /tmp/out && [ $i -lt 100 ]; do sleep 1; i=$((i + 1)); done
kill -TERM $pid; wait $pid; same command/sigterm 143 $?

same command/much-out "$sum" "$(timeout 180 lkvm run -k $K -- cat </tmp/big 2>/tmp/err | { sleep 3; sha256sum; })"
timeout 180 lkvm run -q -k $K -- echo x >/dev/full 2>/tmp/err </dev/null; same command/full-stdout 125 $?
has command/full-stdout-is-said /tmp/err '^lkvm: stdout: No space left on device$'
timeout 180 lkvm run -k $K -- cat </tmp 2>/tmp/err; has command/stdin-that-fails /tmp/err '^lkvm: stdin: Is a directory$'
command_ -u 1000:100 -- id; has command/user /tmp/out '^uid=1000 gid=100'
printf 'a b\n"c' >/tmp/arg
command_ -- printf '%s|' '' "$(cat /tmp/arg)" '*' '$x' "'"; same command/arguments "|$(cat /tmp/arg)|*|\$x|'|" "$(cat /tmp/out)"
command_ --out /o:/results -- sh -c 'ls -A /results; echo more >/results/mine'
same command/out-replaces "0  more" "$status $(cat /tmp/out) $(cat /o/mine)"
command_ -- true; same command/true 0 $status
command_ -- false; same command/false 1 $status
timeout 180 lkvm run -k $K -- sh -c 'exec <&-; echo closed' </tmp/big >/tmp/out 2>/tmp/err
same command/stdin-unread "0 closed" "$? $(cat /tmp/out)"
timeout 180 lkvm run -k $K -- sh -c 'echo x' >&- 2>/tmp/err </dev/null; same command/closed-stdout 0 $?
timeout 180 lkvm run -k $K -- sh -c 'yes | head -c 3000000' 2>/tmp/err </dev/null | head -c 5 >/tmp/out
same command/reader-goes "y:y:y" "$(tr '\n' : </tmp/out)"
same command/much-through-a-pipe "$sum" "$(cat /tmp/big | timeout 180 lkvm run -k $K -- cat 2>/tmp/err | cat | sha256sum)"
command_ -u nobody -- true; same command/no-user 125 $status
command_ -w /nosuch -- true; same command/no-directory 125 $status
has command/no-directory-is-named /tmp/err '^lkvm: guest: directory: /nosuch: No such file or directory$'
cat /tmp/r.tar | TMPDIR=/tmp timeout 180 lkvm run -k $K --root - -- sh -c 'cd /; echo *; busybox wc -c' >/tmp/out 2>/tmp/err
same command/archive-on-stdin "bin dev etc proc run sys tmp 0" "$(tr '\n' ' ' </tmp/out | sed 's/ $//')"
command_ --modules /nosuch -- true; same command/modules-nowhere 125 $status
