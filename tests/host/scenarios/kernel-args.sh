# SPDX-License-Identifier: GPL-2.0-only
# What the kernel gets: default parameters before the user's, several initrds, a
# seed for its random numbers, the machine's clock.
k=cloud
mkdir one two
echo 'cat /proc/cmdline; cat /second; dmesg | grep -c "crng init done"; cat /sys/devices/system/clocksource/clocksource0/current_clocksource; date -u +%Y-%m-%d; ls /sys/bus/acpi/devices' >one/cmd
echo second-initrd >two/second
(cd one && echo cmd | cpio -o -H newc 2>/dev/null | gzip >../one.gz)
(cd two && echo second | cpio -o -H newc 2>/dev/null >../two.cpio)
printf '\0' >odd		# the next one has to be aligned by lkvm
run -k /g/$k/bzImage -i /g/$k/initrd -i one.gz -i odd -i two.cpio -p quiet -p last=1
same args/status 0 $status
has args/command-line /tmp/out '^console=ttyS0 panic=-1 .*quiet last=1$'
has args/second-initrd /tmp/out '^second-initrd$'
has args/clock /tmp/out '^kvm-clock$'
has args/date /tmp/out "^$(date -u +%Y-%m-%d)$"
has args/crng-seeded /tmp/out '^1$'
has args/acpi-devices /tmp/out 'QEMU0001:00'
run -k /g/$k/bzImage -i /g/$k/initrd --no-default-params -p "console=ttyS0 quiet"
has args/no-default-params /tmp/out 'GUEST-INIT'
# The console's input reaches a shell in the guest.
echo 'read line; echo "got <$line>"' >one/cmd
(cd one && echo cmd | cpio -o -H newc 2>/dev/null | gzip >../one.gz)
echo "typed before the guest listens" | timeout 100 lkvm run -k /g/$k/bzImage -i /g/$k/initrd -i one.gz -p quiet >/tmp/out 2>/tmp/err
has args/early-input /tmp/out '^got <typed before the guest listens>'
