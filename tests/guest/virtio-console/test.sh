# SPDX-License-Identifier: GPL-2.0-only
# Each attack of elf64.c against a console with one named port whose peer echoes, over
# both transports: the VM lives, the device works again after a reset.
attacks=$(attacks_of tests/guest/virtio-console/elf64.c)
for transport in pci mmio; do
	attack() {
		rm -f "$T/port"
		"$TOOLS/peer" bytes $1 "$T/port" & peer=$!
		run -k "$GUESTS/elf64" -m 256 -c $(cpus_of $2) --rng off --transport $transport --port "p=unix:$T/port" -p "attack=$2 every=$every"
		kill $peer 2>/dev/null; wait $peer 2>/dev/null
	}
	n=0
	for attack in $attacks; do
		n=$((n + 1)); over $transport $n $attack || continue
		attack echo $attack
		same "virtio-console/$transport/$attack" "0 SURVIVED RECOVERED" "$status $(echo $(cat "$T/out"))"
		few_lines "virtio-console/$transport/$attack-log" '^lkvm: console'
		[ ! -e "$T/port" ] || not_ok "virtio-console/$transport/$attack-socket" "the socket is still there"
	done
	attack hold slow_reader
	same "virtio-console/$transport/slow_reader" "0 ALL" "$status $(cat "$T/out")"
done
