# SPDX-License-Identifier: GPL-2.0-only
# A CPU that prints without end does not slow another one's timer, whether its
# reader reads or has stopped. Three runs of each, the fastest counts: what else this
# machine does must not.
took() {
	local best=999999 start t i
	for i in 1 2 3; do
		start=$(now_ms)
		timeout 60 "$LKVM" run -k "$GUESTS/elf64" -m 64 -c 2 -p "attack=$1" </dev/null 2>"$T/err" | $2 >/dev/null
		t=$(($(now_ms) - start - ${3:-0}))
		[ $t -ge $best ] || best=$t
	done
	echo $best
}
stopped() { sleep 4; cat; }
alone=$(took no cat)
reading=$(took yes cat)
stopped=$(took yes stopped)	# its reader has to come back before lkvm can end
for w in reading; do
	[ "${!w}" -le $((alone * 5 / 4 + 100)) ] && ok "yes/$w" || not_ok "yes/$w" "alone $alone ms, with output ${!w} ms"
done
# With a stopped reader the guest ends at the same time; then lkvm waits for the reader.
[ "$stopped" -le 5500 ] && ok yes/stopped || not_ok yes/stopped "alone $alone ms, reader back after 4 s: $stopped ms"
[ "$alone" -ge 1000 ] && ok yes/alone || not_ok yes/alone "100 times 10 ms took $alone ms"
echo "# alone $alone ms, with output $reading ms, reader stopped for 4 s: $stopped ms"
