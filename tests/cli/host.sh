# SPDX-License-Identifier: GPL-2.0-only
# What a user is told about a host that is not ready.
K=$GUESTS/kernel/bzimage64
cp "$LKVM" "$K" "$T/"; chmod 755 "$T"
if ! is_host_root; then
	skip host/all "needs root and its right to make devices"
elif ! unshare -m true 2>/dev/null; then
	skip host/all "no private mount namespace here, to take /dev/kvm away"
else
	# A private /dev: without /dev/kvm, or with something else in its place.
	unshare -m sh -c "mount -t tmpfs none /dev; mknod /dev/null c 1 3; mknod /dev/urandom c 1 9
		$LKVM run $K; echo status=\$?; $LKVM check; echo status=\$?" >"$T/out" 2>&1
	has host/no-device "$T/out" '^lkvm: no /dev/kvm: VT-x/AMD-V is off in the firmware, nested'
	same host/no-device-status "status=125 status=125" "$(grep status= "$T/out" | xargs)"
	unshare -m sh -c "mount -t tmpfs none /dev; mknod /dev/kvm c 1 3; $LKVM run $K; echo status=\$?" >"$T/out" 2>&1
	has host/not-kvm "$T/out" '^lkvm: /dev/kvm: not a KVM device'
	unshare -m sh -c "mount -t tmpfs none /dev; mknod /dev/kvm c 10 232; chmod 660 /dev/kvm; chgrp audio /dev/kvm
		setpriv --reuid 65534 --regid 65534 --clear-groups $T/lkvm run $T/bzimage64; echo status=\$?" >"$T/out" 2>&1
	has host/no-permission "$T/out" '^lkvm: cannot open /dev/kvm: Permission denied$'
	has host/what-to-do "$T/out" "^  your user is not in group 'audio' \(mode 660, root audio\)\. Try: sudo usermod"
fi
if [ -w /dev/kvm ]; then
	"$LKVM" check >"$T/out" 2>"$T/err"; status=$?
	has host/check-verdict "$T/out" '(guests|kernels) will run here'
	"$LKVM" check --json >"$T/json" 2>"$T/err"
	same host/check-same-status $status "$?"
	has host/check-json "$T/json" '^\{"v":1,"stock_kernels":(true|false),"small_guests":(true|false),"real_mode":(true|false),.*"verdict":".*"\}$'
else
	skip host/check "no /dev/kvm on this machine"
fi
