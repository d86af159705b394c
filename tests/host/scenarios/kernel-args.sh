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
# Without default parameters; the console's input reaches a shell in the guest; a CPU that has SVM.
echo 'read line; echo "got <$line>"; cat /proc/cmdline; grep -c -w svm /proc/cpuinfo' >one/cmd
(cd one && echo cmd | cpio -o -H newc 2>/dev/null | gzip >../one.gz)
echo "typed before the guest listens" | timeout 100 lkvm run -k /g/$k/bzImage -i /g/$k/initrd -i one.gz --nested on \
	--no-default-params -p "console=ttyS0 panic=-1 quiet" >/tmp/out3 2>/tmp/err
tr -d '\r' </tmp/out3 >/tmp/out
has args/early-input /tmp/out '^got <typed before the guest listens>'
has args/no-default-params /tmp/out '^console=ttyS0 panic=-1 quiet$'
has nested/on /tmp/out '^1$'
# A unified kernel image: an EFI program's headers, a table of sections, and the files. Its parameters
# and its initrd come before ours.
le() { local v=$1 n=$2; while [ $n -gt 0 ]; do printf "\\$(printf %03o $((v & 255)))"; v=$((v >> 8)) n=$((n - 1)); done; }
section() { printf %s $1; head -c $((8 - ${#1})) /dev/zero; le $3 4; le 0 4; le $3 4; le $2 4; head -c 16 /dev/zero; }
size() { wc -c <$1; }
printf 'quiet of=image of-image=1\n' >params
{
	printf MZ; head -c 58 /dev/zero; le 64 4
	printf 'PE\0\0'; le $((0x8664)) 2; le 3 2; head -c 16 /dev/zero
	section .cmdline 512 $(size params)
	section .linux 1024 $(size /g/$k/bzImage)
	section .initrd $((1024 + $(size /g/$k/bzImage))) $(size /g/$k/initrd)
} >uki
truncate -s 512 uki params
cat params /g/$k/bzImage /g/$k/initrd >>uki
echo 'cat /proc/cmdline; cat /second; grep -c -w svm /proc/cpuinfo' >one/cmd
(cd one && echo cmd | cpio -o -H newc 2>/dev/null | gzip >../one.gz)
run -k uki -i one.gz -i two.cpio -p of=us
same uki/status 0 $status
has uki/parameters /tmp/out '^console=ttyS0 .* quiet of=image of-image=1 of=us$'
has uki/initrds /tmp/out '^second-initrd$'
has nested/off /tmp/out '^0$'
