# SPDX-License-Identifier: GPL-2.0-only
# Each kind of kernel is entered as its specification says, with its command line.
for k in elf64 elf32 elf64-pvh bzimage64 bzimage32; do
	run -k "$GUESTS/$k" -p one --params="two  three" --no-default-params
	same "kernel/$k" "0 one two  three" "$status $(cat "$T/out")"
done
run "$GUESTS/elf64" -p last
has kernel/default-params "$T/out" '^console=ttyS0 panic=-1 .* last$'
run "$GUESTS/elf64" -v
has kernel/params-with-v "$T/err" '^lkvm: kernel parameters: console=ttyS0 panic=-1'
run "$GUESTS/bzimage64" -p "$(head -c 255 /dev/zero | tr '\0' x)" --no-default-params
same kernel/longest-command-line 255 "$(tr -d '\n' <"$T/out" | wc -c)"
run "$GUESTS/bzimage64" -p "$(head -c 256 /dev/zero | tr '\0' x)" --no-default-params
same kernel/too-long-command-line 125 "$status"
has kernel/too-long-message "$T/err" '^lkvm: command line: 256 bytes; this kernel takes at most 255'
# initrds: from files, from a pipe, too large.
head -c 5000000 /dev/urandom >"$T/a"
run "$GUESTS/bzimage64" -i "$T/a" -i "$T/a" -v
same kernel/initrd 0 "$status"
has kernel/initrd-size "$T/err" 'initrd 10000000 bytes at 0x1'
timeout 20 "$LKVM" run "$GUESTS/bzimage64" -i <(cat "$T/a") -v >"$T/out" 2>"$T/err" </dev/null
same kernel/initrd-from-a-pipe 0 "$?"
has kernel/initrd-from-a-pipe-size "$T/err" 'initrd 5000000 bytes at'
truncate -s 1G "$T/big"
run "$GUESTS/bzimage64" -i "$T/big" -m 3G -v
same kernel/1GiB-initrd 0 "$status"
run "$GUESTS/bzimage64" -i "$T/big" -m 1G
same kernel/initrd-too-large 125 "$status"
has kernel/initrd-too-large-by "$T/err" '^lkvm: initrd: .*/big: 1073741824 bytes do not fit: .* 17825792 bytes less$'
# Where a kernel is looked for.
mkdir -p "$T/src/arch/x86/boot" && cp "$GUESTS/bzimage64" "$T/src/arch/x86/boot/bzImage"
(cd "$T/src" && timeout 20 "$LKVM" run >"$T/out" 2>"$T/err" </dev/null)
same kernel/found 0 "$?"
has kernel/found-said "$T/err" '^lkvm: kernel: ./arch/x86/boot/bzImage$'
mkdir -p "$T/src/a/b"
(cd "$T/src/a/b" && timeout 20 "$LKVM" run >"$T/out" 2>"$T/err" </dev/null)
has kernel/found-above "$T/err" '^lkvm: kernel: ./../../arch/x86/boot/bzImage$'
# A device tree for those who want one.
run "$GUESTS/elf64" --fdt on --dump-dtb "$T/dtb" -c 3
same kernel/dump-dtb 0 "$status"
same kernel/dtc "" "$(dtc -I dtb -O dts "$T/dtb" 2>&1 >"$T/dts")"
same kernel/dtb-cpus 3 "$(grep -c 'device_type = "cpu"' "$T/dts")"
# What only a host with KVM can refuse.
run "$GUESTS/elf64" --dump-dtb /nonexistent/x
same kernel/dtb-nowhere 125 "$status"
has kernel/dtb-nowhere-said "$T/err" '^lkvm: dump-dtb: /nonexistent/x: No such file'
run "$GUESTS/elf64" -m 64T
same kernel/too-much-memory 125 "$status"
has kernel/too-much-memory-said "$T/err" '^lkvm: memory: [0-9]+ MiB'
# Few descriptors, little address space: one message whatever is refused.
for n in $(seq 4 24); do
	(ulimit -n $n; timeout 20 "$LKVM" run "$GUESTS/elf64" -c 2 >"$T/out" 2>"$T/err" </dev/null)
	s=$?
	[ $s = 0 ] && [ "$n" -gt 12 ] && continue
	[ $s = 125 ] && [ "$(grep -c '^lkvm: ' "$T/err")" = 1 ] && continue
	not_ok "kernel/descriptors-$n" "status $s" "$(cat "$T/err")"
done
ok kernel/few-descriptors
