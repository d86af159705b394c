# SPDX-License-Identifier: GPL-2.0-only
# Every CPU that was asked for starts, and no more.
for n in 1 2 4 9; do
	run -k "$GUESTS/elf64" -c $n
	same "smp/$n" "0 $n" "$status $(cat "$T/out")"
done
