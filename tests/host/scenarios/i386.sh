# SPDX-License-Identifier: GPL-2.0-only
# A host of its own: it changes what namespaces do not keep apart, or was not seen to share one yet.
# 32-bit kernels, through the 32-bit entry. TCG's nested paging hangs with PAE
# guests, so KVM uses shadow paging for them.
rmmod kvm_amd
insmod /lib/kvm-amd.ko npt=0
for m in $(choose "i686:1:256:poweroff i686:2:512:reboot i686:1:512:panic i686pae:1:256:poweroff i686pae:2:512:reboot
	i686pae:1:512:panic" "i686:1:256:poweroff i686pae:2:512:panic"); do
	IFS=: read -r k cpus mib end <<M
$m
M
	boots "$k/$cpus-cpus-$end" $([ $end = panic ] && echo 255 || echo 0) $cpus $mib \
		-k /g/$k/bzImage -i /g/$k/initrd -p "quiet do=$end"
done
rmmod kvm_amd
insmod /lib/kvm-amd.ko
