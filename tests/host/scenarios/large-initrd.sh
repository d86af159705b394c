# SPDX-License-Identifier: GPL-2.0-only
# A 1 GiB initrd in a 3 GiB machine: one sparse file in a cpio archive.
k=cloud
mkdir big
truncate -s 1023M big/file
echo 'wc -c </file' >big/cmd
(cd big && printf 'cmd\nfile\n' | cpio -o -H newc 2>/dev/null) >big.cpio
rm big/file
run -k /g/$k/bzImage -i /g/$k/initrd -i big.cpio -m 3G -p quiet
same large-initrd/status 0 $status
has large-initrd/unpacked /tmp/out '^1072693248$'
run -k /g/$k/bzImage -i /g/$k/initrd -i big.cpio -m 512M -p quiet
same large-initrd/does-not-fit 125 $status
has large-initrd/by-how-much /tmp/err '^lkvm: initrd: .*: [0-9]* bytes do not fit: .* [0-9]* bytes less$'
rm big.cpio
