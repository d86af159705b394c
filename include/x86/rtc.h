/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * MC146818 real-time clock with 128 bytes of CMOS RAM, at ports 0x70 and 0x71.
 * Time is the host's UTC plus what the guest has set.
 */
#ifndef LKVM_X86_RTC_H
#define LKVM_X86_RTC_H

#include <pthread.h>
#include <stdint.h>
#include <time.h>

struct bus;
struct state;

#define RTC_RAM_BYTES 128

/* What the guest can observe. */
struct rtc_state {
	uint8_t index;
	uint8_t ram[RTC_RAM_BYTES]; /* registers 0..13, then CMOS RAM */
	int64_t offset_s;	    /* guest time - host time */
};

struct rtc {
	pthread_mutex_t lock;
	struct rtc_state state;
	time_t (*host_time)(void); /* replaced in tests */
};

/* 0 or -errno. */
int rtc_init(struct rtc *rtc, struct bus *pio);
void rtc_fini(struct rtc *rtc);

/* state.h. It goes with the host's clock meanwhile. */
void rtc_carry(struct rtc *rtc, struct state *s);

#endif
