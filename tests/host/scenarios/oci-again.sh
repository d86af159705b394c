# SPDX-License-Identifier: GPL-2.0-only
# All that is tested of containers and pods, once more with "warm = yes": in a guest that goes on from a snapshot they are
# what they are in one that has booted.
# A host of its own: those change what namespaces do not keep apart.
# Only in check-all: it is all of that, twice.
# Takes an hour at most: two hundred of them after each other, too.
# Modules of its kernels are in /lib/modules; the guests are cloud.
[ -e /full ] || return 0
mkdir -p /root	# the cache's
sleep 2		# what was written a moment ago has no snapshot yet
# warm NAME LEAST: there were so many starts from snapshots; without them this would say nothing.
warm() {
	starts=$(cat /root/.cache/lkvm/*.uses | wc -c)
	[ "$starts" -ge $2 ] && ok oci-again/$1 || not_ok oci-again/$1 "$starts, $(ls /root/.cache/lkvm)"
}
(WARM=yes; . /again/oci.sh)
warm containers 8	# since oci.sh itself has emptied the cache
(WARM=yes; . /again/oci-many.sh)
warm many "$(cat /soak 2>/dev/null || echo 200)"
rm -rf /root/.cache/lkvm /r /b /vol
(WARM=yes; . /again/oci-pods.sh)
rm -rf /r /a /b
(WARM=yes; . /again/oci-pods.sh) | sed 's#^\(ok\|not ok\) pods/#\1 pods-again/#'
warm pods 2
