# SPDX-License-Identifier: GPL-2.0-only
# 32-bit kernels, through the 32-bit entry. TCG's nested paging hangs with PAE
# guests, so KVM uses shadow paging for them.
rmmod kvm_amd
insmod /lib/kvm-amd.ko npt=0
for k in i686 i686pae; do
	boots "$k/1-cpu" 0 1 256 -k /g/$k/bzImage -i /g/$k/initrd -p "quiet do=poweroff"
	boots "$k/2-cpus" 0 2 512 -k /g/$k/bzImage -i /g/$k/initrd -p quiet
	run -k /g/$k/bzImage -i /g/$k/initrd -p "quiet do=panic"
	same "$k/panic" 255 $status
done
rmmod kvm_amd
insmod /lib/kvm-amd.ko
