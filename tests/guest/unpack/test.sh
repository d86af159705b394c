# SPDX-License-Identifier: GPL-2.0-only
# The host unpacks a bzImage, places and relocates what is in it: each compression, each
# table layout, KASLR on and off; the cache whole and broken; payloads that lie.
# What it unpacks was made on the machine that builds (images).
here=$PWD/tests/guest/unpack
# word N: four bytes, little-endian.
word() { printf "$(printf '\\x%02x\\x%02x\\x%02x\\x%02x' $(($1 & 255)) $(($1 >> 8 & 255)) $(($1 >> 16 & 255)) $(($1 >> 24 & 255)))"; }
# patch FILE AT: what is on stdin, in its place.
patch() { dd of="$1" bs=1 seek=$2 conv=notrunc 2>/dev/null; }
# bzimage NAME PAYLOAD [FRONT]: kernel code is from 0x400 to the file's end, in units of 16.
bzimage() {
	local front=$GUESTS/${3:-front} bytes
	bytes=$(stat -c %s "$2")
	cat "$front" "$2" >"$T/$1"
	truncate -s %16 "$T/$1"
	word $((($(stat -c %s "$T/$1") - 0x400) / 16)) | patch "$T/$1" $((0x1f4))
	word $bytes | patch "$T/$1" $((0x24c))
}
pack() { "$here/pack" "$@"; }
# kernel ...: runs it and reads its line: $phys $shift $flag; anything else is a failure.
kernel() {
	local p64 p32 n32 ok target=0xffffffff81200004
	run -m 256 --rng off "$@"
	read -r phys p64 p32 n32 flag ok <"$T/out" || { phys=bad; return; }
	[ "$status $ok" = "0 +" ] || { phys="bad: $status $(cat "$T/out")"; return; }
	phys=$((16#$phys)) shift=$((16#$p64 - target)) flag=$((flag))
	[ $((16#$p32)) = $((16#$p64)) ] && [ $((16#$n32)) = $((-(16#$p64 - 0xffffffff00000000))) ] ||
		[ $((16#$n32 & 0xffffffff)) = $((-(16#$p64) & 0xffffffff)) ] || phys="bad words: $(cat "$T/out")"
}
# placed NAME: it was put somewhere by chance, and all of its addresses agree.
placed() {
	case $phys in bad*) not_ok "$1" "$phys" "$(head -n 5 "$T/err")"; return ;; esac
	if [ $((phys % 0x200000)) = 0 ] && [ $phys -ge 16777216 ] && [ $phys -lt 268435456 ] &&
		[ $((shift % 0x200000)) = 0 ] && [ $shift -ge 0 ] && [ $shift -lt 1073741824 ] && [ $flag = 2 ]; then
		ok "$1"
	else
		not_ok "$1" "phys $phys shift $shift flag $flag"
	fi
}
off="--kernel-cache off"
# few ALL FEW: what is tried, all of it with FULL=1.
few() { if [ -n "$FULL" ]; then echo "$1"; else echo "$2"; fi; }
# fewer ALL FEW FEWER: in an emulated host even less.
fewer() { if [ "$every" = 1 ]; then few "$1" "$2"; else echo "$3"; fi; }
for format in gzip XZ LZMA bzip2 LZO LZ4 Zstandard; do
	cp "$GUESTS/$format.payload" "$T/"
	bzimage $format "$T/$format.payload"
	kernel -k "$T/$format" $off -v
	placed unpack/$format
	has unpack/$format-said "$T/err" "^lkvm: kernel: $format: "
	[ "$every" = 1 ] || [ $format = gzip ] || [ $format = LZ4 ] || continue	# what is next is alike for all, or fuzz/unpack has it
	kernel -k "$T/$format" $off -p nokaslr -c 4
	same unpack/$format-nokaslr "16777216 0 0" "$phys $shift $flag"
	# Damaged: in the middle, at the end, and of another size than it says. (fuzz/unpack does so to each format.)
	bytes=$(stat -c %s "$T/$format.payload")
	for at in $(few "$((bytes / 3)) $((bytes / 2)) $((bytes - 8))" $((bytes / 2))); do
		cp "$T/$format.payload" "$T/bad.payload"
		printf '\252\125\252\125' | patch "$T/bad.payload" $at
		bzimage bad "$T/bad.payload"
		run -m 256 -k "$T/bad" $off --timeout 5
		# Without checksums (LZ4, LZMA) another kernel may come out, and do anything but harm us.
		case $format:$status in
		LZ4:0 | LZ4:12[45] | LZ4:255 | LZMA:0 | LZMA:12[45] | LZMA:255) ok unpack/$format-damaged-$at ;;
		LZ4:* | LZMA:*) not_ok unpack/$format-damaged-$at "status $status" "$(head -n 5 "$T/err")" ;;
		*) same unpack/$format-damaged-$at 125 $status
		   has unpack/$format-damaged-$at-said "$T/err" "^lkvm: kernel: .*/bad: its payload .* (is damaged|unpacks to)" ;;
		esac
	done
	exact=$(stat -c %s "$GUESTS/three")
	for n in $(few "0 1000 $((exact - 1)) $((exact + 1)) 8388609 4294967295" $((exact + 1))); do
		head -c -4 "$T/$format.payload" >"$T/bad.payload"
		word $n >>"$T/bad.payload"
		bzimage bad "$T/bad.payload"
		run -m 256 -k "$T/bad" $off
		same unpack/$format-size-$n "125 1" "$status $(grep -c '^lkvm: kernel: ' "$T/err")"
	done
	head -c 3000 "$T/$format.payload" >"$T/bad.payload"
	word $exact >>"$T/bad.payload"
	bzimage bad "$T/bad.payload"
	run -m 256 -k "$T/bad" $off
	same unpack/$format-cut 125 $status
done
k=$T/gzip
# By chance: no two of eight runs alike in both.
for i in 1 2 3 4 5 6 7 8; do kernel -k "$k" $off; echo "$phys $shift"; done >"$T/places"
[ "$(cut -d' ' -f1 "$T/places" | sort -u | wc -l)" -ge 4 ] && ok unpack/random || not_ok unpack/random "$(cat "$T/places")"
[ "$(cut -d' ' -f2 "$T/places" | sort -u | wc -l)" -ge 5 ] && ok unpack/random-virtual || not_ok unpack/random-virtual "$(cat "$T/places")"
# With little room: between 16 MiB and an initrd right behind it.
head -c 2000000 /dev/zero >"$T/initrd"
for i in $(fewer "1 2 3 4" "1 2 3 4" "1 2"); do
	run -m 32 --rng off -k "$k" -i "$T/initrd" $off
	read -r phys rest <"$T/out"
	echo "$status ${rest##* } $((16#$phys / 2097152))"
done >"$T/places"
same unpack/beside-an-initrd "" "$(grep -v '^0 + \([89]\|1[0-9]\)$' "$T/places")"
# RAM above 4 GiB counts, too.
for i in $(seq 40); do
	run -m 8G --rng off -k "$k" $off
	read -r phys rest <"$T/out"
	[ $((16#$phys)) -lt 4294967296 ] || break
done
same unpack/above-4GiB "0 + 1" "$status ${rest##* } $((16#$phys >= 4294967296))"
# Kernels of other layouts.
pack gzip "$GUESTS/two" >"$T/two.payload"; bzimage k2 "$T/two.payload"
run -m 256 --rng off -k "$T/k2" $off
same unpack/two-tables "0 +" "$status $(awk '{ print $NF }' "$T/out")"
same unpack/two-tables-moved "$(awk '{ print $2 }' "$T/out")" "$(awk '{ print $3 }' "$T/out")"
pack gzip "$GUESTS/none" >"$T/none.payload"; bzimage k0 "$T/none.payload"
kernel -k "$T/k0" $off
same unpack/no-relocations "16777216 0 0" "$phys $shift $flag"
# What is not understood is the stub's: it says so.
stub() {
	local name=$1 why=$2; shift 2
	run -m 256 --rng off -v $off "$@"
	same unpack/$name "0 stub" "$status $(cat "$T/out")"
	has unpack/$name-said "$T/err" "^lkvm: kernel: the guest unpacks it: $why"
}
run -m 256 --rng off -k "$k" --unpack guest
same unpack/guest "0 stub" "$status $(cat "$T/out")"
stub memmap 'there is memmap= on its command line' -k "$k" -p 'memmap=1M$32M'
bzimage old "$T/gzip.payload" old.front
stub old-protocol 'it is a 32-bit kernel or older than Linux 5.5' -k "$T/old"
(echo "no kernel has this format"; head -c 300000 "$LKVM"; word $exact) >"$T/odd.payload"; bzimage odd "$T/odd.payload"
stub odd-format 'its compression is not known' -k "$T/odd"
for lie in $(few "0x00001000 0x80fffffd 0x81403ffe 0x7fffffff 0x00000001" 0x81403ffe); do
	pack gzip "$GUESTS/lie-$lie" >"$T/lie.payload"; bzimage klie "$T/lie.payload"
	stub relocation-$lie 'what is in it has another form than expected: a relocation outside' -k "$T/klie"
done
(cat "$GUESTS/three"; printf '\0\0\0\0') >"$T/odd"; pack gzip "$T/odd" >"$T/odd.payload"; bzimage odd "$T/odd.payload"
stub four-tables 'what is in it has another form than expected: too many' -k "$T/odd"
# Each field of the ELF file, wrong in itself.
for at in $(fewer "4 5 16 18 24 26 32 36 40 44 54 56 58 60 72 80 96 97 104 128" "32 56 80 104" "32 104"); do
	cp "$GUESTS/three" "$T/odd"; printf '\377\377' | dd of="$T/odd" bs=1 seek=$at conv=notrunc 2>/dev/null
	pack gzip "$T/odd" >"$T/odd.payload"; bzimage odd "$T/odd.payload"
	run -m 256 --rng off $off -k "$T/odd" --timeout 3
	# It may crash itself, or stop; what it may not is harm us.
	case "$status $(awk '{ print $NF }' "$T/out")" in
	"0 stub" | "0 +" | "0 ?" | "255 "* | "124 "* | "125 "*) ok unpack/elf-$at ;;
	*) not_ok unpack/elf-$at "$status $(cat "$T/out")" "$(head -n 3 "$T/err")" ;;
	esac
done
bzimage small "$T/gzip.payload" small.front
run -m 256 -k "$T/small" $off
same unpack/larger-than-its-header 125 $status

# ---- the cache ----
c=$T/cache
# store KERNEL: runs it until the thread that stores says something: $said.
store() {
	: >"$T/err"	# the run before may have said the same
	# Its guest takes all that a CPU has; the process that stores gets less of it than others do.
	nice -n 19 "$LKVM" run -v -m 256 --rng off -k "$1" --kernel-cache "${2:-$c}" --no-default-params -p wait \
		>"$T/out" 2>"$T/err" </dev/null & local pid=$!
	wait_for $patience grep -q '^lkvm: kernel cache: \(not \)\?stored' "$T/err"
	kill $pid; wait $pid
	said=$(sed -n 's/^lkvm: kernel cache: \(\(not \)\?stored\)/\1/p' "$T/err")
}
# from NAME SOURCE [KERNEL]: where the next run gets it from, and that it is the right one.
from() {
	kernel -v -k "${3:-$k}" --kernel-cache "$c"
	placed "$1"
	has "$1-source" "$T/err" "^lkvm: kernel: $2: "
}
fill() { rm -rf "$c"; store "$k"; [ "$said" = stored ] || not_ok unpack/fill "$said"; }
touch -d '1 hour ago' "$T"/gzip "$T"/XZ "$T"/LZ4; sleep 1.1
store "$k"
same unpack/stored stored "$said"
same unpack/cache-files "700 600 1" "$(stat -c %a "$c" "$c"/*.kernel | xargs) $(ls "$c" | wc -l)"
from unpack/warm 'from the cache'
kernel -k "$k" --kernel-cache "$c" -p nokaslr
same unpack/warm-nokaslr "16777216 0 0" "$phys $shift $flag"
# Another name of the same file is the same kernel.
ln "$k" "$T/link"; touch -d '1 hour ago' "$k"; sleep 1.1
store "$T/link"
from unpack/link 'from the cache'
cp "$k" "$T/copy"
# A folder that was there before: what is not the cache's own stays.
rm -rf "$c"; mkdir -m 700 "$c"
mine="linux-6.1.kernel song.record new.tmp 0123.kernel lkvm-6.1.kernel lkvm-notes.kernel $(printf %064d 0)x.kernel"
for f in $mine; do echo mine >"$c/$f"; done
store "$k"
same unpack/foreign-files "stored $(echo "$mine" | wc -w)" "$said $(cd "$c" && grep -lx mine $mine 2>/dev/null | wc -l)"
from unpack/foreign-files-warm 'from the cache'
fill
# A kernel that changes is never mistaken for the one before, whatever its times say.
stamp=$(stat -c %y "$k")
cat "$T/XZ" >"$T/copy"; touch -d "$stamp" "$T/copy"
from unpack/replaced XZ "$T/copy"
cp "$T/LZ4" "$T/new"; touch -d "20 seconds" "$T/new"	# as if it were written now, however slow this host is
store "$T/new"
same unpack/just-written 'not stored' "${said%%:*}"
# Each part of an entry, damaged; cut; swapped; exchanged. Only its time says so of the image.
fill; entry=$(echo "$c"/*.kernel)
size=$(stat -c %s "$entry")
image=$((size - 4202496))
for at in $(fewer "0 8 12 16 24 32 40 48 56 64 72 80 88 96 100 104 108 4096 8200 $image $((image + 100)) $((image + 2097152)) $((size - 1))" \
	"0 12 24 56 100 4096 8200 $image" "56 4096 $image"); do
	fill
	byte=$(od -An -tu1 -j $at -N 1 "$entry")
	stamp_of_entry=$(stat -c %y "$entry")
	printf "\\x$(printf %x $((byte ^ 64)))" | dd of="$entry" bs=1 seek=$at conv=notrunc 2>/dev/null
	# Header and tables are checked, too.
	[ $at -ge $image ] || touch -m -d "$stamp_of_entry" "$entry"
	from unpack/damaged-$at gzip
done
for bytes in $(fewer "0 100 5000 1000000" "100 5000" 5000); do
	fill; stamp_of_entry=$(stat -c %y "$entry"); truncate -s $bytes "$entry"; touch -m -d "$stamp_of_entry" "$entry"
	from unpack/cut-$bytes gzip
done
fill; chmod g+w "$entry"; from unpack/entry-of-a-group gzip
fill; mv "$entry" "$T/moved"; ln -s "$T/moved" "$entry"; from unpack/entry-a-link gzip
fill; rm "$entry"; mkdir "$entry"; from unpack/entry-a-folder gzip
fill; rm "$entry"; mkfifo "$entry"; from unpack/entry-a-pipe gzip
# That of another kernel.
fill; mv "$entry" "$T/moved"; store "$T/XZ"; rm -f "$entry"; other=$(echo "$c"/*.kernel)
cp -p "$other" "$entry"; touch -m -r "$T/moved" "$entry"; from unpack/entry-of-another gzip
fill; touch "$entry"; store "$k"
same unpack/stored-again stored "$said"; from unpack/warm-again 'from the cache'
# A guest that ends at once, and no idle CPU: that it is stored is worth half a second.
rm -rf "$c"
mkdir -m 700 "$c"
taskset -c 0 sh -c 'while :; do :; done' & busy=$!
for i in 1 2 3; do
	taskset -c 0 timeout 60 "$LKVM" run -v -m 64 --rng off -k "$k" --kernel-cache "$c" >"$T/out" 2>"$T/err" </dev/null
	sed -n 's/^lkvm: kernel: \([^:]*\):.*/\1/p' "$T/err"
done >"$T/sources"
same unpack/no-idle-cpu "gzip from the cache" "$(head -n 1 "$T/sources") $(tail -n 1 "$T/sources")"
same unpack/no-idle-cpu-left "" "$(ls "$c" | grep -v '\.kernel$')"
# The process that stores has no rights but the user's, and few system calls.
cp "$k" "$T/other"; touch -d '1 hour ago' "$T/other"; sleep 1.1
taskset -c 0 "$LKVM" run -m 64 --rng off -k "$T/other" --kernel-cache "$c" --no-default-params -p wait \
	>"$T/out" 2>"$T/err" </dev/null & pid=$!
rights() { awk '/^(CapEff|NoNewPrivs|Seccomp:)/ { print $2 }' /proc/$(pgrep -P "$(vm_of $pid)" -x kernel-cache)/status | xargs; }
filtered=2; [ -z "$VARIANT" ] || filtered=0	# with sanitizers there are no filters
storing() { [ "$(rights)" = "0000000000000000 1 $filtered" ]; }
wait_for 20 storing && ok unpack/rights-while-storing || not_ok unpack/rights-while-storing "$(rights)"
kill $pid; wait $pid
kill $busy
# A folder that was asked for and cannot be used: it boots, and says why.
refused() {
	kernel -k "$k" --kernel-cache "$2"
	placed unpack/$1
	has unpack/$1-said "$T/err" "^lkvm: kernel cache: not used: $3"
}
mkdir -m 777 "$T/open"; chmod 777 "$T/open"; refused folder-of-all "$T/open" 'its folder is not ours alone'
refused folder-nowhere "$T/no/such" 'its folder cannot be made'
refused folder-a-file "$k" 'its folder cannot be opened'
mkdir -p "$T/foreign"
if is_host_root; then
	chown 65534 "$T/foreign"; refused folder-of-another "$T/foreign" 'its folder is not ours alone'
else
	skip unpack/folder-of-another "needs root"
fi
(unset HOME XDG_CACHE_HOME; run -v -m 256 --rng off -k "$k"; cp "$T/err" "$T/no-home"; echo "$status" >"$T/st")
same unpack/no-home 0 "$(cat "$T/st")"
has unpack/no-home-said "$T/no-home" '^lkvm: kernel cache: not used: the user has no cache folder'
HOME=$T/home; mkdir "$HOME"
(unset XDG_CACHE_HOME; run -m 256 --rng off -k "$k")
same unpack/home "700 lkvm" "$(stat -c %a "$HOME/.cache/lkvm") $(ls "$HOME/.cache")"
# A full disk: nothing is left there, and the next run unpacks again.
if is_host_root; then
	mkdir "$T/full"; mount -t tmpfs -o size=300k,mode=700 none "$T/full"
	store "$k" "$T/full"
	same unpack/full-disk "not stored: its files cannot be written" "$said"
	same unpack/full-disk-empty "" "$(ls "$T/full")"
	c=$T/full from unpack/full-disk-run gzip
	umount "$T/full"
	mkdir -m 700 "$T/ro"; mount -t tmpfs -o ro,mode=700 none "$T/ro"
	store "$k" "$T/ro"
	same unpack/read-only "not stored: its files cannot be written" "$said"
	umount "$T/ro"
else
	skip unpack/full-disk "needs root"
fi
# Many at once, all cold: each the right kernel, one entry, nothing half.
rm -rf "$c"; mkdir -m 700 "$c"
many=$(few 32 8)
for i in $(seq $many); do
	timeout 60 "$LKVM" run -m 64 --rng off -k "$k" --kernel-cache "$c" >"$T/many.$i" 2>&1 </dev/null &
	pids[i]=$!
done
for i in $(seq $many); do wait ${pids[i]}; done
same unpack/many-cold $many "$(cat "$T"/many.* | grep -c ' +$')"
# Who ends while it stores leaves the file it was writing to the next one (unit/cache).
same unpack/many-cold-left "" "$(ls "$c" | grep -v -e '\.kernel$' -e '^lkvm-new\.tmp$')"
ls "$c"/*.kernel >/dev/null 2>&1 || store "$k"	# none had the time
from unpack/many-cold-warm 'from the cache'

# In the test build the cache is full with three kernels, and the process that stores
# tries what it may not.
[ -n "$VARIANT" ] || {
	LKVM=$HOOKED c=$T/little
	store "$T/gzip"; store "$T/XZ"
	from unpack/used-again 'from the cache' "$T/gzip"
	store "$T/LZ4"
	same unpack/full-cache "2 stored" "$(ls "$c"/*.kernel | wc -l) $said"
	from unpack/last-used-stays 'from the cache' "$T/gzip"
	from unpack/newest-stays 'from the cache' "$T/LZ4"
	from unpack/oldest-goes XZ "$T/XZ"
	for a in $(fewer "socket fork execve mmap kill unlink ioctl-tiocsti ptrace io_uring_setup" \
		"socket fork execve mmap kill unlink ioctl-tiocsti ptrace io_uring_setup" "socket execve unlink"); do
		rm -rf "$c"
		SANDBOX_HOOK=kernel-cache:$a run -m 256 --rng off -k "$T/gzip" --kernel-cache "$c" --no-default-params -p wait --timeout 4
		case $a in ioctl*) call=ioctl ;; *) call=$a ;; esac
		same unpack/store-tries-$a 124 $status
		has unpack/store-tries-$a-said "$T/err" "^lkvm: sandbox: kernel-cache process: forbidden system call: $call "
		same unpack/store-tries-$a-nothing-stored "" "$(ls "$c" | grep '\.kernel$')"
	done
}
