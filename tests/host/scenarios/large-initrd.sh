# SPDX-License-Identifier: GPL-2.0-only
# Only in check-all: it takes minutes to unpack.
# A 1 GiB initrd in a 3 GiB machine: one sparse file in a cpio archive.
k=cloud
mkdir big
truncate -s 1023M big/file
printf end >>big/file
echo 'echo "file $(stat -c %s /file) $(tail -c 3 /file)"' >big/cmd
(cd big && printf 'cmd\nfile\n' | cpio -o -H newc 2>/dev/null) >big.cpio
rm big/file
run -k /g/$k/bzImage -i /g/$k/initrd -i big.cpio -m 3G -p "quiet rootfstype=ramfs"	# tmpfs takes half the memory at most
same large-initrd/status 0 $status
has large-initrd/unpacked /tmp/out '^file 1072693251 end$'
same large-initrd/complaints "" "$(grep -i failed /tmp/out)"
run -k /g/$k/bzImage -i /g/$k/initrd -i big.cpio -m 512M -p quiet
same large-initrd/does-not-fit 125 $status
has large-initrd/by-how-much /tmp/err '^lkvm: initrd: .*: [0-9]* bytes do not fit: .* [0-9]* bytes less$'
rm big.cpio
