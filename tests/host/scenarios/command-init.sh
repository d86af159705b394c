# SPDX-License-Identifier: GPL-2.0-only
# A command in a VM, and the first process that runs it: what a command does to all that it can reach
# neither hangs the machine nor loses a byte.
# Modules of its kernels are in /lib/modules.
K=/g/cloud/bzImage
# in_guest ARGUMENTS: as run, with stdin from where it comes.
in_guest() { timeout 180 lkvm run -k $K "$@" >/tmp/out 2>/tmp/err; status=$?; }

printf foo >/tmp/in; in_guest --tty on -- cat </tmp/in
same command-init/tty-end-in-a-line "0 foofoo" "$status $(tr -d '\r\n' </tmp/out)"
# A reader that goes ends who writes, and a reader that stops longer than any patience loses nothing.
bytes=$(choose 14000000 5000000)
timeout 180 lkvm run -k $K -- sh -c "yes | head -c $bytes" 2>/tmp/err </dev/null | { sleep 30; md5sum >/tmp/out; }
same command-init/reader-stops "$(yes | head -c $bytes | md5sum)" "$(cat /tmp/out)"
# Whatever it closes, kills, covers or asks for.
in_guest -u 65534 -- sh -c 'echo out >/dev/stdout; echo err >/dev/stderr' </dev/null
same command-init/streams-of-another "0 out err" "$status $(cat /tmp/out) $(cat /tmp/err)"
mkdir /tmp/results
out='echo a >/out/f; umount -l /out; mkfifo /out/fifo; mount -t tmpfs t /dev; mkfifo /dev/vport0p5'
covers='mount -t tmpfs t /dev; mount -t tmpfs t /sys; kill -9 -1; kill -9 1; kill -TERM 1; echo on'
forks='f() { f | f & }; f; sleep 3; exit 8'
in_guest --out /tmp/results -- sh -c "$out; $covers; $forks" </dev/null
same command-init/covers-and-forks "8 on a" "$status $(cat /tmp/out /tmp/results/f | tr '\n' ' ' | sed 's/ $//')"

[ -e /full ] || return 0
in_guest -- sh -c "$covers" </dev/null; same command-init/covers "0 on" "$status $(cat /tmp/out)"
in_guest -- sh -c "$forks" </dev/null; same command-init/forks 8 $status
in_guest --out /tmp/results -- sh -c "$out; exit 9" </dev/null
same command-init/results "9 a" "$status $(cat /tmp/results/f)"
in_guest -- cut -d ' ' -f 19 /proc/self/stat </dev/null; same command-init/nice "0 0" "$status $(cat /tmp/out)"
echo foo >/tmp/in; in_guest --tty on -- cat </tmp/in
same command-init/tty-end "0 foo,foo," "$status $(tr -d '\r' </tmp/out | tr '\n' ,)"
in_guest --tty on -- cat </dev/null; same command-init/tty-empty 0 $status
# All have closed the terminal, and one opens it again.
in_guest --tty on -- sh -c 'exec <&- >&- 2>&-; usleep 300000; echo again >/dev/tty' </dev/null
same command-init/tty-opened-again "0 again" "$status $(tr -d '\r\n' </tmp/out)"

timeout 180 lkvm run -k $K -- yes 2>/tmp/err </dev/null | head -n 1 >/tmp/out
same command-init/reader-goes "y" "$(cat /tmp/out)"
same command-init/reader-goes-says-nothing "" "$(cat /tmp/err)"
# stdin that is not read, and stdin that ends later than the command.
in_guest -- true </dev/zero; same command-init/stdin-unread 0 $status
mkfifo /tmp/fifo; in_guest -- true <>/tmp/fifo; same command-init/stdin-open 0 $status

in_guest -- sh -c 'for f in /dev/vport*; do echo junk >$f; done; for f in /proc/1/fd/*; do echo junk >$f; done; exit 7' </dev/null
same command-init/writes-to-init 7 $status
# Its driver taken away: nobody can be told, and it ends all the same.
in_guest -- sh -c 'for d in /sys/bus/virtio/drivers/virtio_console/virtio*; do echo ${d##*/} >${d%/*}/unbind; done; sleep 1000' </dev/null
same command-init/driver-taken 255 $status
