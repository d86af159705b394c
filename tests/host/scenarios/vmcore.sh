# SPDX-License-Identifier: GPL-2.0-only
# A vmcore of a stock kernel, while it runs and when it has panicked: its log can be read from both, without
# symbols.
# Modules of its kernels are in /lib/modules.
mkdir -p /run /tmp/v && cd /tmp/v
mkfifo in
timeout 400 lkvm run -k /g/cloud/bzImage --name v -c 2 -m 256 --dump-on-panic panic -- \
	sh -c 'echo ready; read x; echo c >/proc/sysrq-trigger' <>in >out 2>err &
vm=$!
i=0
until grep -q ready out || [ $i = 2000 ]; do sleep 0.1; i=$((i + 1)); done
lkvm debug v --dump live 2>said
same vmcore/live "0 " "$? $(cat said)"
echo go >in
wait $vm
same vmcore/panic 255 $?
has vmcore/panic-message err "^lkvm: dump: panic: the guest's memory and registers"
for f in live panic; do
	makedumpfile --dump-dmesg $f $f.log >made 2>&1
	same "vmcore/$f-opens" 0 $?
	has "vmcore/$f-log" $f.log "Linux version $(cat /g/cloud/version)"
	eu-readelf -a $f >elf 2>&1
	same "vmcore/$f-elf" "0 0 2" "$? $(grep -ciE 'invalid|error|cannot' elf) $(grep -c PRSTATUS elf)"
	has "vmcore/$f-info" elf '^ *OSRELEASE='
	same "vmcore/$f-sparse" yes "$([ "$(du -k $f | cut -f1)" -lt 200000 ] && echo yes)"
done
same vmcore/live-words 0 "$(grep -c 'Kernel panic' live.log)"
has vmcore/panic-words panic.log 'Kernel panic - not syncing: sysrq triggered crash'
