/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Sizes that back ends and what they are made of agree on.
 */
#ifndef LKVM_NET_FRAME_H
#define LKVM_NET_FRAME_H

#define NET_HEADER_BYTES    12u
#define NET_MAC_BYTES	    6u
#define NET_MIN_FRAME_BYTES 14u
/* The biggest that offloads make, VLAN tag included; also the limit of streams. */
#define NET_MAX_FRAME_BYTES 65553u
#define NET_MAX_QUEUES	    8u

#endif
