# SPDX-License-Identifier: GPL-2.0-only
# A clock that counts instructions: the exits of one warm boot of the cloud kernel are the same on
# each run, so one per cent more is a change of ours (or of the kernel's: the limit was measured with
# 6.1.0-56).
limit=2435	# 2411 and one per cent
hist=/sys/kernel/tracing/events/kvm/kvm_exit
boot="lkvm run -m 256 -k /g/cloud/bzImage -i /g/cloud/initrd -p quiet --kernel-cache /tmp/kc"
for i in 1 2; do $boot >/dev/null 2>&1 </dev/null; done	# the second stores it, if the first had no time
echo 'hist:keys=exit_reason.hex' >$hist/trigger
$boot >/tmp/out 2>/tmp/err </dev/null
same exits/status 0 $?
exits=$(awk '/exit_reason:/ { n += $NF } END { print n + 0 }' $hist/hist)
echo "# $exits exits of $(cat /g/cloud/version)"
[ "$exits" -gt 1000 ] && [ "$exits" -le $limit ] && ok exits/warm-boot || not_ok exits/warm-boot "$exits exits, the limit is $limit"
