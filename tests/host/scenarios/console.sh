# SPDX-License-Identifier: GPL-2.0-only
# The virtio console with stock kernels: hvc0 as the terminal, its size, named ports of
# each kind, bytes in both directions, readers that stop or go.
mkdir -p /tmp/k && cd /tmp/k
guest_script() {
	rm -rf c && mkdir c && { cat <<'C'; cat; } >c/cmd
port() { for d in /sys/class/virtio-ports/*; do [ "$(cat $d/name 2>/dev/null)" = $1 ] && echo /dev/${d##*/}; done; }
say() { echo; echo "NET $*"; } >/dev/ttyS0
C
	(cd c && echo cmd | cpio -o -H newc 2>/dev/null | gzip) >cmd.gz
}
p="--no-default-params -p console=ttyS0 -p panic=-1 -p pci=noearly -p cryptomgr.notests"
# start KERNEL:TRANSPORT ARGUMENTS: with a console log, which has what ttyS0 says.
start() {
	local k=${1%:*} t=${1#*:}; shift
	timeout 170 lkvm run --transport $t -k /g/$k/bzImage -i /g/$k/initrd -i /g/$k/drivers -i cmd.gz --console-log log \
		-v "$@" -p "quiet do=poweroff"
}
said() { tr -d '\r' <log | grep -a '^NET ' | sed 's/^NET //' | tr '\n' ' ' | sed 's/ $//'; }
until_said() { local n=0; until grep -aq "$1" log 2>/dev/null || [ $n = 900 ]; do sleep 0.1; n=$((n + 1)); done; }

# hvc0: 300 kB in each direction, of all bytes.
head -c 300000 /dev/urandom >in
guest_script <<'C'
exec 5<>/dev/hvc0; stty raw -echo <&5; say ready
head -c 300000 <&5 >/tmp/got; say in-$(sha256sum </tmp/got | cut -c1-16)
cat /tmp/got >&5; say sent
C
sum=$(sha256sum <in | cut -c1-16)
for m in $(choose "cloud:pci generic612:mmio" generic612:mmio); do
	rm -f log
	(until_said ready; cat in; sleep 20) | start $m --console virtio $p >out 2>err
	same "console/$m/hvc0" "0 ready in-$sum sent $sum" "$? $(said) $(sha256sum <out | cut -c1-16)"
done

# Ports: many bytes there and back through a socket, a file, a pipe, a pseudo-terminal.
bytes=$(choose 4000000 1000000)
head -c $bytes /dev/urandom >in
sum=$(sha256sum <in | cut -c1-16)
guest_script <<'C'
n=0; exec 5<>$(port sock); head -c $(sed 's/.* bytes=\([0-9]*\).*/\1/' /proc/cmdline) <&5 >/tmp/got; say in-$(sha256sum </tmp/got | cut -c1-16)
cat /tmp/got >&5; say sent; cat /tmp/got >$(port file)
echo to pipe >$(port pipe)
exec 6<>$(port pty); echo hello pty >&6; read x <&6; say "pty-$x"
C
for m in $(choose "cloud:pci generic:mmio" cloud:pci); do
	rm -f file out log; mkfifo fifo 2>/dev/null
	cat fifo >piped & piped=$!
	start $m $p --port sock=unix:/tmp/k/s --port file=file:file --port pipe=fd:7 --port pty=pty 7>fifo -p bytes=$bytes </dev/null >stdout 2>err & vm=$!
	n=0; until [ -S s ] || [ $n = 100 ]; do sleep 0.1; n=$((n + 1)); done
	socat -t 100 - UNIX-CONNECT:s <in >back & peer=$!
	n=0; until pts=$(grep -o '/dev/pts/[0-9]*' err) || [ $n = 100 ]; do sleep 0.1; n=$((n + 1)); done # a moment later than s
	(timeout 160 head -n 1 $pts >ptyline; echo answer >$pts) &
	wait $vm; status=$?
	wait $peer
	same "console/$m/ports" "0 in-$sum sent pty-answer $sum $sum" \
		"$status $(said) $(sha256sum <back | cut -c1-16) $(sha256sum <file | cut -c1-16)"
	wait $piped
	same "console/$m/pipe-and-pty" "to pipe hello pty" "$(cat piped) $(cat ptyline)"
	same "console/$m/socket-gone" 1 "$([ -e s ]; echo $?)"
done

# A reader of stdout that stops for ten seconds delays, and loses nothing; guest/hvc has these two, too.
[ ! -e /full ] || {
guest_script <<'C'
stty raw -echo </dev/hvc0
i=0; while [ $i -lt 200 ]; do head -c 10000 /dev/zero | tr '\0' x; i=$((i + 1)); done >/dev/hvc0; say sent
C
mkfifo slow; rm -f log
start cloud:pci --console virtio $p >slow 2>err </dev/null & vm=$!
(sleep 10; cat) <slow | wc -c >count
wait $vm
same console/slow-reader "0 sent 2000000" "$? $(said) $(cat count)"
# One that goes costs nothing: the guest writes on and ends in time.
rm -f log
start cloud:pci --console virtio $p 2>err </dev/null | head -c 1000 >/dev/null
same console/closed-reader sent "$(said)"
has console/closed-reader-said err 'console: [0-9]* bytes of guest output dropped: Broken pipe'
}
# Nobody at a port: what is written is dropped, the guest goes on.
guest_script <<'C'
head -c 1000000 /dev/zero >$(port full); say full
(head -c 100000 /dev/zero >$(port alone) & sleep 2; kill $! 2>/dev/null); say alone
C
rm -f log
start cloud:pci $p --port full=fd:7 --port alone=unix:/tmp/k/s 7>/dev/full >out 2>err </dev/null
same console/nobody "0 full alone" "$? $(said)"
has console/full-said err 'port full: No space left on device: what the guest writes is dropped'

# The window's size, with and without named ports; it changes while the VM runs.
guest_script <<'C'
s() { stty size </dev/hvc0 2>/dev/null; }
i=0; until [ "$(s)" = "33 101" ] || [ $i = 50 ]; do sleep 0.1; i=$((i + 1)); done; say $(s)
say CHANGE; i=0; until [ "$(s)" = "44 112" ] || [ $i = 100 ]; do sleep 0.1; i=$((i + 1)); done; say $(s)
C
cat >sized <<'C'
stty rows 33 cols 101
k=$1 t=$2; shift 2
lkvm run --transport $t -k /g/$k/bzImage -i /g/$k/initrd -i /g/$k/drivers -i cmd.gz --console-log log --console virtio "$@" -p "quiet do=poweroff" &
n=0; until grep -q CHANGE log || [ $n = 300 ]; do sleep 0.1; n=$((n + 1)); done
stty rows 44 cols 112
wait $!
C
choose 'cloud pci
generic612 mmio
cloud pci --port a=pty
generic612 pci --port a=pty
generic mmio --port a=pty' 'generic612 mmio --port a=pty' >sizes
while read -r m <&8; do
	rm -f log; : >log
	timeout 100 script -q -c "sh sized $m $p" /dev/null >/dev/null 2>&1 </dev/null
	same "console/size: $m" "33 101 CHANGE 44 112" "$(said)"
done 8<sizes

# Ctrl-A b and a key: SysRq, on hvc0 and on ttyS0.
guest_script <<'C'
exec 5<>/dev/$(cat /sys/class/tty/console/active | tr ' ' '\n' | grep hvc0 || echo ttyS0)
echo 1 >/proc/sys/kernel/sysrq; dmesg -n 7; say READY; i=0; until dmesg | grep -q 'sysrq: HELP' || [ $i = 100 ]; do sleep 0.1; i=$((i + 1)); done
dmesg | grep -q 'sysrq: HELP' && say sysrq
C
for c in $(choose "virtio serial" virtio); do
	rm -f log keys; : >log; mkfifo keys
	(exec 4>keys; until_said READY; sleep 1; printf '\001bh' >&4; sleep 8) &
	timeout 100 script -q -c "lkvm run -k /g/cloud/bzImage -i /g/cloud/initrd -i /g/cloud/drivers -i cmd.gz --console-log log --console $c -p do=poweroff" \
		/dev/null <keys >/dev/null 2>&1
	same console/sysrq-$c "READY sysrq" "$(said | grep -o 'READY.*sysrq' | tr -s ' ')"
	wait $!
done
