# SPDX-License-Identifier: GPL-2.0-only
# How a stock kernel's end is told, and what this host is found to be.
lkvm check >/tmp/out 2>/tmp/err
same check/status 0 $?
has check/verdict /tmp/out '^stock kernels will run here$'
has check/json /tmp/out 'cmpxchg16b at CPL 0 *ok'
k=cloud
[ ! -e /full ] || {
	# host/status and host/command have a panic, guest/spin a timeout.
	run -k /g/$k/bzImage -i /g/$k/initrd -p "quiet do=panic" --json /tmp/json
	same ending/panic 255 $status
	has ending/panic-json /tmp/json '"outcome":"panic","status":255'
	has ending/panic-console /tmp/out 'Kernel panic - not syncing: sysrq'
	run -k /g/$k/bzImage -i /g/$k/initrd -p "quiet do=hang" --timeout 8 --json /tmp/json
	same ending/timeout 124 $status
	run -k /g/$k/bzImage -i /g/$k/initrd -p "quiet do=panic panic=0" --timeout 60 --json /tmp/json
	same ending/panic-that-hangs 255 $status	# guest/panic has it, too
}
run -k /g/$k/bzImage -i /g/$k/initrd -p "quiet reboot=t"
same ending/triple-fault 255 $status
has ending/triple-fault-message /tmp/err '^lkvm: vcpu 0: triple fault'
# Damaged files: an error or a guest that is lost, never a crash or a hang.
head -c 5000000 /g/$k/bzImage >/tmp/short
run -k /tmp/short -i /g/$k/initrd
same ending/truncated-kernel 125 $status

[ -e /full ] || return 0
run -k /g/$k/bzImage -i /g/$k/initrd -p "quiet reboot=k"	# guest/reset has it, too
same ending/reboot-by-keyboard 0 $status
# No root: the kernel panics and says so. host/status has it, too.
run -k /g/$k/bzImage -p "quiet root=/dev/none"
same ending/no-init 255 $status
# A reader that goes away does not disturb the guest; guest/readers has some.
timeout 100 lkvm run -k /g/$k/bzImage -i /g/$k/initrd -p "do=poweroff" --json /tmp/json 2>/tmp/err </dev/null | head -n 1 >/tmp/out
has ending/closed-reader /tmp/json '"outcome":"poweroff","status":0'
head -c 500000 /g/$k/initrd >/tmp/short
run -k /g/$k/bzImage -i /tmp/short -p quiet --timeout 60
same ending/truncated-initrd 255 $status
