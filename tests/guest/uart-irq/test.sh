# SPDX-License-Identifier: GPL-2.0-only
# Interrupts of the UART arrive through irqfd, none is lost.
for i in 1 2 3 4 5; do
	LIMIT=20 run --flat "$GUEST"
	same "uart-irq/$i" "0 sent by interrupts" "$status $(cat "$T/out")"
done
