# SPDX-License-Identifier: GPL-2.0-only
# Bad input from the user: one message, exit status 125, nothing left behind.

# refuses NAME PATTERN ARGUMENTS...
refuses() {
	local name=$1 pattern=$2; shift 2
	(cd "$T" && timeout 20 "$LKVM" "$@" >out 2>err </dev/null; echo $? >status)
	same "usage/$name-status" 125 "$(cat "$T/status")"
	has "usage/$name" "$T/err" "$pattern"
	same "usage/$name-one-message" 1 "$(grep -c '^lkvm: ' "$T/err")"
	same "usage/$name-silent-console" "" "$(cat "$T/out")"
}
K=$GUESTS/kernel/bzimage64
mkdir "$T/dir"; head -c 9000 /dev/urandom >"$T/junk"; : >"$T/empty"; head -c 1500 "$K" >"$T/short"
printf '# a text\n' >"$T/text"; : >"$T/secret"; mkfifo "$T/fifo"
refuses no-command '^lkvm: no command$'
refuses unknown-command '^lkvm: command: frob: unknown$' frob
refuses unknown-option '^lkvm: option --frob: unknown' run --frob
refuses list-name '^lkvm: list: names are too many$' list a
refuses debug-what '^lkvm: debug: what is to be done to it\?$' debug vm
refuses debug-name '^lkvm: debug: needs the name of one VM$' debug --regs
refuses debug-two '^lkvm: debug: one thing at a time$' debug vm --regs --gdb
refuses debug-json '^lkvm: debug: --json is for --regs$' debug vm --gdb --json
refuses debug-vm '^lkvm: no-such-vm: no such VM$' debug no-such-vm --nmi 1
refuses list-option '^lkvm: option --all: unknown' list --all
refuses stop-nothing '^lkvm: stop: needs the name of a VM$' stop
refuses stat-missing '^lkvm: nosuch: no such VM$' stat nosuch
refuses stat-none '^lkvm: stat: needs the name of a VM$' stat
refuses grace '^lkvm: --grace: 0: must be a number of seconds' run --grace 0 x
refuses stop-missing '^lkvm: nosuch: no such VM$' stop nosuch
refuses stop-path '^lkvm: \.\./a: no such VM$' stop ../a
refuses stop-timeout '^lkvm: --timeout: x: must be a number of seconds' stop --timeout x a
refuses stop-all-and-name '^lkvm: stop: names are too many$' stop --all a
refuses pause-nothing '^lkvm: pause: needs the name of a VM$' pause
refuses resume-missing '^lkvm: nosuch: no such VM$' resume nosuch
refuses wait-two '^lkvm: wait: needs the name of a VM$' wait a b
refuses wait-missing '^lkvm: nosuch: no such VM$' wait nosuch
refuses name-dash "^lkvm: --name: -a: must not begin as an option does$" run --name=-a "$K"
refuses cpus-0 '^lkvm: --cpus: 0: must be' run -c 0 "$K"
refuses cpus-negative '^lkvm: --cpus: -1: must be' run -c -1 "$K"
refuses mem-1 '^lkvm: --mem: 1: too small' run -m 1 "$K"
refuses mem-huge '^lkvm: --mem: 99999T: more than' run -m 99999T "$K"
refuses mem-too-small-for-kernel '^lkvm: kernel: .*: needs 17 MiB of RAM' run -m 8 "$K"
refuses missing-kernel '^lkvm: kernel: nosuch: No such file or directory$' run -k nosuch
refuses no-kernel '^lkvm: kernel: none given' run
refuses directory '^lkvm: kernel: dir: is a directory$' run -k dir
refuses device '^lkvm: kernel: /dev/null: is a character device$' run -k /dev/null
refuses junk '^lkvm: kernel: junk: not a bzImage or ELF vmlinux' run -k junk
refuses text '^lkvm: kernel: text: not a bzImage or ELF vmlinux \(first bytes 23 20 61 20\)$' run -k text
refuses empty '^lkvm: kernel: empty: not a bzImage or ELF vmlinux \(0 bytes\)$' run -k empty
refuses truncated '^lkvm: kernel: short: truncated: the header promises' run -k short
refuses missing-initrd '^lkvm: initrd: nosuch: No such' run -k "$K" -i nosuch
refuses initrd-directory '^lkvm: initrd: dir: is a directory' run -k "$K" -i dir
refuses flat-odd-address '^lkvm: flat: junk: cannot be entered' run --flat junk@0x10001
refuses flat-beyond '^lkvm: flat: junk: 9000 bytes at 0xdf000 reach beyond' run --flat junk@0xdf000
truncate -s 1M "$T/disk"; cp "$T/disk" "$T/before"
refuses disk-missing '^lkvm: disk: nosuch: No such file' run -k "$K" -d nosuch
refuses disk-directory '^lkvm: disk: dir: Is a directory' run -k "$K" -d dir
refuses disk-fifo '^lkvm: disk: fifo: is neither' run -k "$K" -d fifo
refuses disk-empty '^lkvm: disk: empty: it is empty' run -k "$K" -d empty
refuses disk-suffix '^lkvm: --disk: disk,rw: unknown suffix "rw"' run -k "$K" -d disk,rw
refuses disk-format '^lkvm: --disk: disk,format=vmdk: unknown suffix' run -k "$K" -d disk,format=vmdk
refuses disk-long-serial '^lkvm: --disk: .*: unknown suffix "serial=' run -k "$K" -d disk,serial=123456789012345678901
refuses disk-no-name '^lkvm: --disk: ,ro: no file name' run -k "$K" -d ,ro
refuses disk-ro-cow '^lkvm: --disk: disk,ro,cow: either' run -k "$K" -d disk,ro,cow
refuses disk-not-qcow2 '^lkvm: disk: disk: not a qcow2 image' run -k "$K" -d disk,format=qcow2
refuses disk-twice '^lkvm: disk: disk: in use by this or another process' run -k "$K" -d disk -d disk
refuses disk-32 '^lkvm: --disk: disk,ro: too many of them' run -k "$K" $(for i in $(seq 32); do echo -d disk,ro; done)
refuses modules-missing '^lkvm: --modules: nosuch: No such file' run -k "$K" --modules nosuch -- true
refuses modules-file '^lkvm: --modules: junk: Not a directory$' run -k "$K" --modules junk -- true
refuses modules-none '^lkvm: --modules: dir: no modules for kernel' run -k "$K" --modules dir -- true
refuses transport '^lkvm: --transport: usb: must be pci or mmio' run -k "$K" --transport usb
refuses net-mode '^lkvm: --network: mode=usb: mode=usb: not possible$' run -k "$K" -n mode=usb
refuses net-fd '^lkvm: --network: fd 99: Bad file descriptor$' run -k "$K" -n mode=fd,fd=99
refuses net-stream '^lkvm: net0: nosuch: No such file' run -k "$K" -n mode=stream,path=nosuch
refuses net-pcap '^lkvm: pcap: dir: Is a directory$' run -k "$K" -n mode=stream,path=nosuch,pcap=dir
refuses port-file '^lkvm: port p: dir: Is a directory$' run -k "$K" --port p=file:dir
refuses port-fd '^lkvm: --port: fd 99: Bad file descriptor$' run -k "$K" --port p=fd:99
# A number that the caller has not opened is none of lkvm's own files (--json would be it).
exec 3<&-
refuses port-fd-of-ours '^lkvm: --port: fd 3: Bad file descriptor$' run --json j -k "$K" --port p=fd:3
refuses net-fd-of-ours '^lkvm: --network: fd 3: Bad file descriptor$' run --json j -k "$K" -n mode=fd,fd=3
rm -f "$T/j"
refuses tty-kernel '^lkvm: kernel: /dev/ptmx: is a character device$' run -k /dev/ptmx
refuses port-socket '^lkvm: port p: text: Address already in use$' run -k "$K" --port p=unix:text
refuses port-second '^lkvm: port q: dir: Is a directory$' run -k "$K" --port p=unix:gone --port q=file:dir
refuses too-many-devices '^lkvm: machine: .* are 32 devices; 31 fit' run -k "$K" $(for i in $(seq 31); do echo -d disk,ro; done)
# A kernel from a pipe is as good as a file, one that is too short is named.
timeout 20 "$LKVM" run --dry-run -k <(cat "$K") >"$T/out" 2>"$T/err" </dev/null
same usage/kernel-from-a-pipe "" "$(grep '^lkvm: kernel' "$T/err")"
refuses kernel-from-a-short-pipe '^lkvm: kernel: /dev/fd/.*: truncated: the header promises' run -k <(head -c 1500 "$K")
(cd "$T" && timeout 20 "$LKVM" run --dry-run -k fifo >out 2>err </dev/null & sleep 0.3; cat "$K" >"$T/fifo"; wait)
same usage/kernel-from-a-fifo "" "$(grep '^lkvm: kernel' "$T/err")"
same usage/disk-untouched 0 "$(cmp "$T/disk" "$T/before" >/dev/null; echo $?)"
# A TMPDIR that is no good is not silently another folder.
TMPDIR=/nonexistent refuses cow-tmpdir '^lkvm: disk: a temporary file for ,cow in /nonexistent: No such file' run -k "$K" -d disk,cow
TMPDIR=text refuses cow-tmpdir-file '^lkvm: disk: a temporary file for ,cow in text: Not a dir' run -k "$K" -d disk,cow
rm "$T/disk" "$T/before"
# What belongs to a command.
refuses command-none '^lkvm: --: no command follows$' run -k "$K" --
refuses command-empty '^lkvm: --: the command has an empty name$' run -k "$K" -- ""
refuses command-flat '^lkvm: --flat: junk: it is no Linux, and runs no command$' run --flat junk -- true
refuses env-no-name '^lkvm: --env: =x: must be NAME=VALUE, or NAME' run -k "$K" -e =x -- true
refuses env-empty '^lkvm: --env: : must be NAME=VALUE' run -k "$K" -e "" -- true
refuses workdir-relative '^lkvm: --workdir: a/b: must begin with a slash' run -k "$K" -w a/b -- true
for u in "" : u: :g u:g:h; do
	refuses "user-$u" "^lkvm: --user: $u: must be USER or USER:GROUP, names or numbers\$" run -k "$K" -u "$u" -- true
done
refuses owner '^lkvm: --owner: me: must be keep or root$' run -k "$K" --owner me -- true
refuses tty '^lkvm: --tty: yes: must be auto, on or off$' run -k "$K" --tty yes -- true
refuses oops '^lkvm: --oops: panic: must be ignore or fail$' run -k "$K" --oops panic -- true
refuses modules-empty '^lkvm: --modules: : must be a directory or off$' run -k "$K" --modules "" -- true
refuses root-empty '^lkvm: --root: : must be a directory, a tar archive' run -k "$K" --root "" -- true
refuses dir-nothing '^lkvm: --dir: :/x: no directory is named$' run -k "$K" --dir :/x -- true
refuses dir-relative '^lkvm: --dir: dir:x: its place in the guest must begin with a slash$' run -k "$K" --dir dir:x -- true
refuses dir-is-the-root '^lkvm: --dir: dir://\.: its place in the guest cannot be the root itself$' run -k "$K" --dir dir://. -- true
refuses dir-of-all '^lkvm: dir: /: / is the root.s place$' run -k "$K" --dir / -- true
refuses dir-up '^lkvm: --dir: dir:/a/\.\./b: its place in the guest must not have "\.\." in it$' run -k "$K" --dir dir:/a/../b -- true
refuses out-is-the-root '^lkvm: --out: dir:/: its place in the guest cannot be the root itself$' run -k "$K" --out dir:/ -- true
refuses out-twice '^lkvm: --out: b: there is only one$' run -k "$K" --out a --out b -- true
refuses ip-wrong '^lkvm: --network: .*: ip=10.0.0.2: not possible$' run -k "$K" -n mode=tap,ip=10.0.0.2 -- true
refuses gw-alone '^lkvm: --network: .*: gw and dns belong to ip$' run -k "$K" -n mode=tap,gw=10.0.0.1 -- true
refuses ip-without-a-command '^lkvm: network: ip=: there is no COMMAND' run -k "$K" -i empty -n mode=tap,ip=10.0.0.2/24
refuses json-nowhere '^lkvm: json: /nonexistent/x: No such' run --json /nonexistent/x "$K"
refuses log-nowhere '^lkvm: console-log: /nonexistent/x: No such' run --console-log /nonexistent/x "$K"
refuses check-option '^lkvm: option --frob: unknown' check --frob
refuses check-option-after-json '^lkvm: option --frob: unknown' check --json --frob
refuses check-argument '^lkvm: argument: x: unexpected$' check --json x
refuses completion-of-what '^lkvm: completion: for which shell\?$' completion
refuses kconfig-argument '^lkvm: argument: x86: unexpected$' kconfig x86
refuses completion-argument '^lkvm: argument: csh: unexpected$' completion csh
refuses completion-two '^lkvm: argument: fish: unexpected$' completion zsh fish
refuses version-argument '^lkvm: argument: x: unexpected$' version x y
refuses help-argument '^lkvm: argument: extra: unexpected$' help run extra
refuses help-option '^lkvm: option --frob: unknown' help --frob
refuses help-unknown '^lkvm: help: frob: no such command$' help frob
same usage/nothing-left-behind "dir empty err fifo junk out secret short status text" "$(ls "$T" | xargs)"
(cd "$T" && timeout 20 "$LKVM" run -k nosuch --json j 2>/dev/null; cat j >json)
# What ends lkvm before anybody reads signals is in the report, too: here the kernel does not come.
(cd "$T" && timeout 20 "$LKVM" run -k fifo --json j --timeout 0.2 >out 2>err </dev/null; echo $? >status; cat j >json2)
same usage/early-timeout 124 "$(cat "$T/status")"
has usage/early-timeout-json "$T/json2" '^\{"v":1,"outcome":"timeout","status":124,.*\}$'
for s in TERM:143 INT:130 HUP:129 QUIT:131; do
	: >"$T/j"
	(cd "$T" && exec env --default-signal=INT,QUIT "$LKVM" run -k fifo --json j >out 2>err </dev/null) & pid=$!
	# The FIFO has a reader when it can be opened for writing.
	exec 8>"$T/fifo"; kill -"${s%:*}" $pid; wait $pid
	same usage/early-${s%:*} ${s#*:} $?
	exec 8>&-
	has usage/early-${s%:*}-json "$T/j" '^\{"v":1,"outcome":"killed","status":'${s#*:}',.*\}$'
done
same usage/json-whole 1 "$(wc -l <"$T/j")"
# Also right after any of the first files was opened, the report among them: if it is there, it is
# whole. Nor is a socket left, and --dry-run makes none.
if [ -z "${VARIANT:-}" ] && [ -e "$TOOLS/fault.so" ]; then
	# hit CALL:-SIGNAL:N ARGUMENTS...: a signal right after the call number N.
	hit() { (cd "$T" && LD_PRELOAD=$TOOLS/fault.so FAULT=$1:1 timeout 20 "$LKVM" run "${@:2}" >out 2>err </dev/null); }
	bad=0 found=0
	for n in $(seq 12); do
		rm -f "$T/j"
		hit open:-15:$n -k "$K" --json j
		[ -e "$T/j" ] || continue
		found=$((found + 1))
		[ "$(wc -l <"$T/j")" = 1 ] || { bad=$((bad + 1)); echo "# after open number $n"; }
	done
	same usage/json-after-any-open 0 $bad
	[ $found -gt 0 ] || not_ok usage/json-after-any-open-found
	hit bind:-15:1 -k "$K" --port "a=unix:sock"
	same usage/early-socket-status 143 $?
	hit bind:-15:2 -k "$K" --port "a=unix:sock" -n mode=stream,server=on,path=sock2 --port "b=unix:sock3"
	same usage/early-sockets-status 143 $?
	same usage/early-sockets "" "$(cd "$T" && ls -d sock* 2>/dev/null)"
	hit bind:-9:1 --dry-run -k "$K" --port "a=unix:sock" -n mode=stream,server=on,path=sock2
	[ $? != 137 ] && ok usage/dry-run-socket || not_ok usage/dry-run-socket
	rm -f "$T"/sock*
	# A file system that never answers: the report cannot be opened.
	hangs() { (cd "$T" && LD_PRELOAD=$TOOLS/fault.so FAULT=open:0:1:1 FAULT_FILE=j timeout --preserve-status -k 10 "$1" "$LKVM" run -k "$K" --json j "${@:2}" >out 2>err </dev/null); }
	hangs 20 --timeout 0.2
	same usage/json-hangs-timeout 124 $?
	hangs 0.5
	same usage/json-hangs-term 143 $?
fi
# --dry-run makes no file and changes none, and notices what two would have in common.
printf kept >"$T/kept"
(cd "$T" && timeout 20 "$LKVM" run --dry-run -k "$K" --console-log log-x -n mode=stream,server=on,path=sock1,pcap=cap-x \
	-n mode=stream,server=on,path=sock2,pcap=kept --port a=file:port-x --port b=unix:sock-x >out 2>err </dev/null)
same usage/dry-run-files "kept" "$(cd "$T" && ls -d *-x sock* 2>/dev/null; cat kept)"
(cd "$T" && timeout 20 "$LKVM" run --dry-run -k "$K" --port a=unix:same --port b=unix:./same >out 2>err </dev/null)
has usage/dry-run-twice "$T/err" '^lkvm: port b: \./same: Address already in use'
rm "$T/kept"
# --json to a full disk is an error, and to a pipe that is read one line.
(cd "$T" && "$LKVM" run -k nosuch --json /dev/full 2>err; echo $? >status)
has usage/json-to-a-full-disk "$T/err" '^lkvm: json: /dev/full: No space left'
"$LKVM" run -k nosuch --json >(cat >"$T/piped") 2>/dev/null; wait_for 10 grep -q outcome "$T/piped"
has usage/json-to-a-pipe "$T/piped" '^\{"v":1,"outcome":"error"'
# When its parent dies (here by SIGKILL) lkvm ends as by SIGTERM. Somebody keeps the FIFO open: its end comes first.
: >"$T/j"
bash -c '"$1" run -k "$2/fifo" --json "$2/j" --die-with-parent </dev/null 2>/dev/null & exec 8>"$2/fifo"; sleep 60 & echo $! >"$2/pid"; kill -KILL $$' sh "$LKVM" "$T" 2>/dev/null
wait_for 20 grep -q '"killed","status":143' "$T/j" && ok usage/die-with-parent || not_ok usage/die-with-parent "$(cat "$T/j")"
kill "$(cat "$T/pid")"
has usage/json-of-a-failure "$T/json" '^\{"v":1,"outcome":"error","status":125,"boot_ms":null,'
"$LKVM" version >"$T/out"; has usage/version "$T/out" "^lkvm $(grep -m 1 -oE "^[0-9.]+" CHANGELOG)\$"
"$LKVM" help >"$T/out"; has usage/help "$T/out" '^usage: lkvm run'
"$LKVM" help run >"$T/out"; has usage/help-run "$T/out" '^  -k, --kernel FILE'
"$LKVM" run --help >"$T/out"; has usage/run-help "$T/out" '^  -k, --kernel FILE'
# Each subcommand has -h and --help, and "help" has a page for it.
for c in run check kconfig completion version help; do
	for h in -h --help; do "$LKVM" $c $h >"$T/out" 2>&1; same usage/$c$h-status 0 $?; has usage/$c$h "$T/out" "^usage: lkvm $c"; done
	"$LKVM" help $c >"$T/page"; same usage/help-$c-same 0 "$(cmp "$T/page" "$T/out" >/dev/null; echo $?)"
done
# The options that guests need: each once, and nothing but options, comments and empty lines.
"$LKVM" kconfig >"$T/config"; same usage/kconfig-status 0 "$?"
same usage/kconfig-form "" "$(grep -vE '^(CONFIG_[A-Z0-9_]+=y|#.*|)$' "$T/config")"
same usage/kconfig-once "" "$(grep '^CONFIG' "$T/config" | sort | uniq -d)"
for o in VIRTIO_PCI VIRTIO_MMIO VIRTIO_BLK VIRTIO_CONSOLE VIRTIO_NET EROFS_FS OVERLAY_FS TMPFS DEVTMPFS; do
	has usage/kconfig-$o "$T/config" "^CONFIG_$o=y\$"
done
"$LKVM" kconfig >/dev/full 2>/dev/null; same usage/kconfig-to-a-full-disk 125 "$?"
"$LKVM" help >/dev/full 2>/dev/null; same usage/help-to-a-full-disk 125 "$?"
