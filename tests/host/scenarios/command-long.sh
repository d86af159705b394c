# SPDX-License-Identifier: GPL-2.0-only
# Only in check-all: what a command in a VM (host/command) has to stand for long: a gigabyte both
# ways, run after run, kills at any moment, a large tree, and an ordinary user. In cloud.
# Modules of its kernels are in /lib/modules.
# SOAK=20 tests/run host/command-long: 20 instead of 200 runs, and of the rest a tenth, too.
# Takes an hour.
K=/g/cloud/bzImage
runs=$(cat /soak 2>/dev/null || echo 200)
command_() { timeout 600 lkvm run -k $K "$@"; }
# What lkvm may leave: processes, files where it makes some, descriptors of this host.
ours() { pidof lkvm | tr " " "\n" | sort -n; }
left() { echo "$(ours | wc -l) $(ls -A /tmp /run /run/lkvm 2>/dev/null | sort | md5sum) $(find /dev/shm -type f | wc -l)"; }

# A gigabyte in, and one out, each with its sum; it is in no file. Its blocks are numbered, so that what is lost,
# doubled or out of place is noticed.
chunk=$((runs * 1048576 / 200 * 32))
head -c $chunk /dev/urandom >/block
stream='for i in $(seq 32); do echo $i; cat /block; done'
sum=$(sh -c "$stream" | md5sum)
same command-long/in "0 $sum" "$(sh -c "$stream" | { command_ -- md5sum 2>/tmp/err; echo $? >/tmp/status; } >/tmp/out; echo "$(cat /tmp/status) $(cat /tmp/out)")"
same command-long/out "0 $sum" "$({ command_ -- sh -c "$stream" 2>/tmp/err </dev/null; echo $? >/tmp/status; } | md5sum >/tmp/out; echo "$(cat /tmp/status) $(cat /tmp/out)")"
rm /block

# Run after run: the same status, the same output, nothing left.
command_ -- true </dev/null >/dev/null 2>&1
before=$(left) wrong=0 n=0
while [ $n -lt $runs ]; do
	command_ -- sh -c "echo $n; exit $((n % 100))" >/tmp/out 2>/tmp/err </dev/null
	[ "$? $(cat /tmp/out)" = "$((n % 100)) $n" ] || wrong=$((wrong + 1))
	n=$((n + 1))
done
same command-long/runs "0 wrong" "$wrong wrong"
same command-long/nothing-is-left "$before" "$(left)"

# Killed at any moment: what was started, the VM, the process that reads files.
n=0
while [ $n -lt $((runs / 2)) ]; do
	command_ -- sleep 100 >/dev/null 2>&1 </dev/null &
	shell=$!
	usleep $((n * 7919 % 97 * 100000))
	set -- $(ours)
	[ $# = 0 ] || { shift $((n % $#)); kill -9 $1 2>/dev/null; }
	usleep 300000
	# One that reads files may go, and the guest lives; then whoever was started ends it.
	first=$(ours | head -n 1)
	[ -z "$first" ] || kill -TERM $first 2>/dev/null
	wait $shell
	for i in 1 2 3 4 5 6 7 8 9 10 11 12; do [ -n "$(ours)" ] || break; sleep 1; done
	[ -z "$(ours)" ] || { not_ok command-long/kill-$n "$(ps)"; kill -9 $(ours); }
	n=$((n + 1))
done
lkvm list >/dev/null	# removes what the killed have left
same command-long/nothing-is-left-by-the-killed "$before" "$(left)"

# A tree of many files, one directory of which has half of them: all of it is the same there.
files=$((runs * 1000))
mkdir -p /tree; mount -t tmpfs tree /tree; mkdir /tree/many /tree/few
(cd /tree/many && seq 1 $((files / 2)) | xargs touch -d @1000000000)
(cd /tree/few && seq 1 100 | xargs mkdir && for d in $(seq 1 100); do (cd $d && seq 1 $((files / 200)) | xargs touch -d @1111111111); done)
cp /bin/busybox /tree/few/1/tool
setcap cap_net_raw+ep /tree/few/1/tool
chmod 4711 /tree/few/2; ln /tree/many/1 /tree/few/link; ln -s /nowhere /tree/few/symbolic; mknod /tree/few/device c 1 3; mkfifo /tree/few/fifo
chown 12:13 /tree/many/2; head -c 3000000 /dev/urandom >/tree/few/data
cat >/list <<'END'
cd /tree && ls -lARn | awk '/^total/ {next} /^d/ {$5 = ""} {print}' | md5sum; md5sum few/data; getcap few/1/tool
END
sh /list >/tmp/here 2>&1
command_ --dir /tree -- sh /list >/tmp/out 2>/tmp/err </dev/null
same command-long/tree "0 $(cat /tmp/here)" "$? $(cat /tmp/out)"

# A user who has nothing but /dev/kvm.
chmod 666 /dev/kvm; mkdir -p /home/user; chown 65534:65534 /home/user
as_user() { (cd /home/user && HOME=/home/user timeout 600 /bin/setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all lkvm run -k $K "$@"); }
as_user --out results -- sh -c 'id -u; echo x >/out/x; cat /etc/shadow' >/tmp/out 2>/tmp/err </dev/null
same command-long/user "1 0" "$? $(cat /tmp/out)"
same command-long/user-out "x 65534" "$(cat /home/user/results/x) $(stat -c %u /home/user/results/x)"
