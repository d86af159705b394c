// SPDX-License-Identifier: GPL-2.0-only
/*
 * MC146818 real-time clock and CMOS RAM.
 *
 * Called on vCPU threads, hence the lock. Time registers are computed when they
 * are read, so that nothing ticks while nobody looks: an update is never in
 * progress (UIP reads 0). While the guest holds SET it writes a new time into
 * the registers; clearing SET turns it into an offset from the host's clock.
 * No alarm and no periodic interrupt: kernels have better timers, and ACPI
 * declares the device without an interrupt.
 *
 * Source: Motorola MC146818A data sheet; century byte 0x32 by convention.
 */
#include <string.h>
#include <time.h>

#include "bus.h"
#include "state.h"
#include "x86/layout.h"
#include "x86/rtc.h"

#define REG_SECONDS 0
#define REG_MINUTES 2
#define REG_HOURS   4
#define REG_WEEKDAY 6
#define REG_DAY	    7
#define REG_MONTH   8
#define REG_YEAR    9
#define REG_A	    10
#define REG_B	    11
#define REG_C	    12
#define REG_D	    13
#define REG_CENTURY 0x32

#define A_DEFAULT 0x26u /* 32768 Hz base, 1024 Hz rate; UIP clear */
#define B_SET	  0x80u
#define B_BINARY  0x04u
#define B_24H	  0x02u
#define D_VALID	  0x80u
#define HOUR_PM	  0x80u

#define MAX_OFFSET_S (20000ll * 366 * 86400) /* between two years of four digits, and more */

/* Not time(2): without a vDSO it is a call of its own, which the vCPU's filter does not have. */
static time_t host_utc(void)
{
	struct timespec now = { 0 };

	clock_gettime(CLOCK_REALTIME, &now);
	return now.tv_sec;
}

static uint8_t encode(const struct rtc *rtc, int value)
{
	if (rtc->state.ram[REG_B] & B_BINARY)
		return (uint8_t)value;
	return (uint8_t)(value / 10 << 4 | value % 10);
}

static int decode(const struct rtc *rtc, uint8_t value)
{
	if (rtc->state.ram[REG_B] & B_BINARY)
		return value;
	return (value >> 4) * 10 + (value & 15);
}

static uint8_t encode_hour(const struct rtc *rtc, int hour)
{
	int hour12 = hour % 12 ? hour % 12 : 12;

	if (rtc->state.ram[REG_B] & B_24H)
		return encode(rtc, hour);
	return (uint8_t)(encode(rtc, hour12) | (hour >= 12 ? HOUR_PM : 0));
}

static int decode_hour(const struct rtc *rtc, uint8_t value)
{
	if (rtc->state.ram[REG_B] & B_24H)
		return decode(rtc, value);
	return decode(rtc, value & (uint8_t)~HOUR_PM) % 12 + (value & HOUR_PM ? 12 : 0);
}

/* Writes the current time into the registers. */
static void load_time(struct rtc *rtc)
{
	time_t now = rtc->host_time() + (time_t)rtc->state.offset_s;
	uint8_t *ram = rtc->state.ram;
	struct tm tm;

	/* A year that has no four digits: keep the last time. */
	if (!gmtime_r(&now, &tm) || tm.tm_year < -1900 || tm.tm_year > 9999 - 1900)
		return;
	ram[REG_SECONDS] = encode(rtc, tm.tm_sec);
	ram[REG_MINUTES] = encode(rtc, tm.tm_min);
	ram[REG_HOURS] = encode_hour(rtc, tm.tm_hour);
	ram[REG_WEEKDAY] = encode(rtc, tm.tm_wday + 1);
	ram[REG_DAY] = encode(rtc, tm.tm_mday);
	ram[REG_MONTH] = encode(rtc, tm.tm_mon + 1);
	ram[REG_YEAR] = encode(rtc, (tm.tm_year + 1900) % 100);
	ram[REG_CENTURY] = encode(rtc, (tm.tm_year + 1900) / 100);
}

/* The guest has set the registers; timegm() copes with any values. */
static void store_time(struct rtc *rtc)
{
	const uint8_t *ram = rtc->state.ram;
	struct tm tm = {
		.tm_sec = decode(rtc, ram[REG_SECONDS]),
		.tm_min = decode(rtc, ram[REG_MINUTES]),
		.tm_hour = decode_hour(rtc, ram[REG_HOURS]),
		.tm_mday = decode(rtc, ram[REG_DAY]),
		.tm_mon = decode(rtc, ram[REG_MONTH]) - 1,
		.tm_year = decode(rtc, ram[REG_CENTURY]) * 100 + decode(rtc, ram[REG_YEAR]) - 1900,
	};

	rtc->state.offset_s = (int64_t)timegm(&tm) - (int64_t)rtc->host_time();
}

static uint8_t rtc_read_register(struct rtc *rtc, uint8_t reg)
{
	switch (reg) {
	case REG_A:
		return A_DEFAULT;
	case REG_C:
		return 0; /* no interrupt is pending */
	case REG_D:
		return D_VALID;
	default:
		if ((reg <= REG_YEAR || reg == REG_CENTURY) && !(rtc->state.ram[REG_B] & B_SET))
			load_time(rtc);
		return rtc->state.ram[reg];
	}
}

static void rtc_write_register(struct rtc *rtc, uint8_t reg, uint8_t value)
{
	uint8_t old = rtc->state.ram[REG_B];

	switch (reg) {
	case REG_A:
	case REG_C:
	case REG_D:
		return;
	case REG_B:
		if (!(old & B_SET) && value & B_SET)
			load_time(rtc);
		rtc->state.ram[REG_B] = value;
		if (old & B_SET && !(value & B_SET))
			store_time(rtc);
		return;
	default:
		rtc->state.ram[reg] = value;
	}
}

static uint64_t rtc_read(void *dev, uint64_t offset, unsigned int size)
{
	struct rtc *rtc = dev;
	uint64_t value;

	(void)size;
	if (offset == 0)
		return 0xff; /* the index is write-only */
	pthread_mutex_lock(&rtc->lock);
	value = rtc_read_register(rtc, rtc->state.index);
	pthread_mutex_unlock(&rtc->lock);
	return value;
}

static void rtc_write(void *dev, uint64_t offset, uint64_t value, unsigned int size)
{
	struct rtc *rtc = dev;

	(void)size;
	pthread_mutex_lock(&rtc->lock);
	if (offset == 0)
		rtc->state.index = value & (RTC_RAM_BYTES - 1); /* bit 7 masks NMIs */
	else
		rtc_write_register(rtc, rtc->state.index, (uint8_t)value);
	pthread_mutex_unlock(&rtc->lock);
}

static const struct bus_ops rtc_ops = { .read = rtc_read, .write = rtc_write };

int rtc_init(struct rtc *rtc, struct bus *pio)
{
	const time_t any = 0;
	struct tm tm;

	/* The C library reads a file when it is first asked; later it cannot. */
	gmtime_r(&any, &tm);
	memset(rtc, 0, sizeof(*rtc));
	rtc->host_time = host_utc;
	rtc->state.ram[REG_B] = B_24H;
	pthread_mutex_init(&rtc->lock, NULL);
	return bus_add(pio, &(struct bus_region){
				    .start = PORT_RTC,
				    .len = 2,
				    .max_access = 1,
				    .ops = &rtc_ops,
				    .dev = rtc,
				    .name = "rtc",
			    });
}

void rtc_carry(struct rtc *rtc, struct state *s)
{
	struct rtc_state *st = &rtc->state;
	uint64_t offset;

	state_section(s, "rtc", 0);
	pthread_mutex_lock(&rtc->lock);
	offset = (uint64_t)st->offset_s;
	state_u8(s, &st->index);
	state_raw(s, st->ram, sizeof(st->ram));
	state_u64(s, &offset);
	st->offset_s = (int64_t)offset;
	if (state_loads(s) && (st->index >= RTC_RAM_BYTES || st->offset_s > MAX_OFFSET_S ||
			       st->offset_s < -MAX_OFFSET_S)) {
		state_refuse(s, "a register or a time that it cannot have");
		*st = (struct rtc_state){ 0 };
	}
	pthread_mutex_unlock(&rtc->lock);
}

void rtc_fini(struct rtc *rtc)
{
	pthread_mutex_destroy(&rtc->lock);
}
