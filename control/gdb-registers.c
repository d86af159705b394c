// SPDX-License-Identifier: GPL-2.0-only
/*
 * Registers for gdb (control/gdb-registers.h).
 *
 * One description for all modes of a CPU, since gdb cannot change the sizes of registers while it is
 * connected: that of 64-bit mode. Features whose names begin with org.gnu are gdb's own, with
 * the registers that it requires of them, in that order; the last one is only shown.
 *
 * Source: "Debugging with GDB", appendix G.5.5 (i386 features).
 */
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "control/gdb-registers.h"
#include "util.h"

#define RIP  16u
#define FTAG 34u

#define R(name, bits, type) "<reg name=\"" name "\" bitsize=\"" bits "\" type=\"" type "\"/>"
#define LONG(name)	    R(name, "64", "int64")
#define WORD(name)	    R(name, "32", "int32")
#define ST(name)	    R(name, "80", "i387_ext")
#define FLOAT(name)	    "<reg name=\"" name "\" bitsize=\"32\" type=\"int\" group=\"float\"/>"
#define XMM(name)	    R(name, "128", "vec128")
#define FIELD(name, bit)    "<field name=\"" name "\" start=\"" bit "\" end=\"" bit "\"/>"

/* clang-format off */
const char gdb_description[] =
"<?xml version=\"1.0\"?><!DOCTYPE target SYSTEM \"gdb-target.dtd\"><target>"
"<architecture>i386:x86-64</architecture>"
"<feature name=\"org.gnu.gdb.i386.core\">"
"<flags id=\"i386_eflags\" size=\"4\">"
FIELD("CF", "0") FIELD("", "1") FIELD("PF", "2") FIELD("AF", "4") FIELD("ZF", "6") FIELD("SF", "7")
FIELD("TF", "8") FIELD("IF", "9") FIELD("DF", "10") FIELD("OF", "11") FIELD("NT", "14")
FIELD("RF", "16") FIELD("VM", "17") FIELD("AC", "18") FIELD("VIF", "19") FIELD("VIP", "20")
FIELD("ID", "21") "</flags>"
LONG("rax") LONG("rbx") LONG("rcx") LONG("rdx") LONG("rsi") LONG("rdi")
R("rbp", "64", "data_ptr") R("rsp", "64", "data_ptr") LONG("r8") LONG("r9") LONG("r10") LONG("r11")
LONG("r12") LONG("r13") LONG("r14") LONG("r15") R("rip", "64", "code_ptr")
R("eflags", "32", "i386_eflags")
WORD("cs") WORD("ss") WORD("ds") WORD("es") WORD("fs") WORD("gs")
ST("st0") ST("st1") ST("st2") ST("st3") ST("st4") ST("st5") ST("st6") ST("st7")
FLOAT("fctrl") FLOAT("fstat") FLOAT("ftag") FLOAT("fiseg") FLOAT("fioff") FLOAT("foseg")
FLOAT("fooff") FLOAT("fop")
"</feature><feature name=\"org.gnu.gdb.i386.sse\">"
"<vector id=\"v4f\" type=\"ieee_single\" count=\"4\"/><vector id=\"v2d\" type=\"ieee_double\" count=\"2\"/>"
"<vector id=\"v16i8\" type=\"int8\" count=\"16\"/><vector id=\"v8i16\" type=\"int16\" count=\"8\"/>"
"<vector id=\"v4i32\" type=\"int32\" count=\"4\"/><vector id=\"v2i64\" type=\"int64\" count=\"2\"/>"
"<union id=\"vec128\"><field name=\"v4_float\" type=\"v4f\"/><field name=\"v2_double\" type=\"v2d\"/>"
"<field name=\"v16_int8\" type=\"v16i8\"/><field name=\"v8_int16\" type=\"v8i16\"/>"
"<field name=\"v4_int32\" type=\"v4i32\"/><field name=\"v2_int64\" type=\"v2i64\"/>"
"<field name=\"uint128\" type=\"uint128\"/></union>"
XMM("xmm0") XMM("xmm1") XMM("xmm2") XMM("xmm3") XMM("xmm4") XMM("xmm5") XMM("xmm6") XMM("xmm7")
XMM("xmm8") XMM("xmm9") XMM("xmm10") XMM("xmm11") XMM("xmm12") XMM("xmm13") XMM("xmm14") XMM("xmm15")
"<reg name=\"mxcsr\" bitsize=\"32\" type=\"int\" group=\"vector\"/>"
"</feature><feature name=\"org.gnu.gdb.i386.segments\">"
LONG("fs_base") LONG("gs_base")
"</feature><feature name=\"org.lkvm.system\">"
LONG("k_gs_base") LONG("cr0") LONG("cr2") LONG("cr3") LONG("cr4") LONG("cr8") LONG("efer")
"</feature></target>";
/* clang-format on */

/* Where a register is, and how large there: with zeros behind it up to gdb's size. */
struct gdb_place {
	uint16_t offset; /* in struct registers */
	uint8_t bytes, gdb_bytes;
	uint8_t changes; /* what is set with it; 0: it cannot be set */
};

/* clang-format off */
#define AT(field, gdb_bytes, changes) { offsetof(struct registers, field), \
	sizeof(((struct registers *)0)->field), gdb_bytes, changes }
#define GENERAL(name) AT(regs.name, 8, GDB_CHANGED_REGS)
#define SELECTOR(name) AT(sregs.name.selector, 4, 0)
#define FPR(n) { offsetof(struct registers, fpu.fpr) + 16ul * (n), 10, 10, GDB_CHANGED_FPU }
#define FPU(name) AT(fpu.name, 4, GDB_CHANGED_FPU)
#define XMM_AT(n) { offsetof(struct registers, fpu.xmm) + 16ul * (n), 16, 16, GDB_CHANGED_FPU }
#define NONE { 0, 0, 4, 0 }

static const struct gdb_place places[GDB_NR_REGISTERS] = {
	GENERAL(rax), GENERAL(rbx), GENERAL(rcx), GENERAL(rdx), GENERAL(rsi), GENERAL(rdi), GENERAL(rbp),
	GENERAL(rsp), GENERAL(r8), GENERAL(r9), GENERAL(r10), GENERAL(r11), GENERAL(r12), GENERAL(r13),
	GENERAL(r14), GENERAL(r15), [RIP] = GENERAL(rip),
	{ offsetof(struct registers, regs.rflags), 4, 4, GDB_CHANGED_REGS },
	SELECTOR(cs), SELECTOR(ss), SELECTOR(ds), SELECTOR(es), SELECTOR(fs), SELECTOR(gs),
	FPR(0), FPR(1), FPR(2), FPR(3), FPR(4), FPR(5), FPR(6), FPR(7),
	FPU(fcw), FPU(fsw), [FTAG] = FPU(ftwx), NONE,
	{ offsetof(struct registers, fpu.last_ip), 4, 4, GDB_CHANGED_FPU }, NONE,
	{ offsetof(struct registers, fpu.last_dp), 4, 4, GDB_CHANGED_FPU }, FPU(last_opcode),
	XMM_AT(0), XMM_AT(1), XMM_AT(2), XMM_AT(3), XMM_AT(4), XMM_AT(5), XMM_AT(6), XMM_AT(7),
	XMM_AT(8), XMM_AT(9), XMM_AT(10), XMM_AT(11), XMM_AT(12), XMM_AT(13), XMM_AT(14), XMM_AT(15),
	FPU(mxcsr),
	AT(sregs.fs.base, 8, GDB_CHANGED_SREGS), AT(sregs.gs.base, 8, GDB_CHANGED_SREGS),
	AT(kernel_gs_base, 8, 0), AT(sregs.cr0, 8, 0), AT(sregs.cr2, 8, 0), AT(sregs.cr3, 8, 0),
	AT(sregs.cr4, 8, 0), AT(sregs.cr8, 8, 0), AT(sregs.efer, 8, 0),
};
/* clang-format on */

static uint64_t code_base(const struct registers *r)
{
	return r->sregs.cs.l ? 0 : r->sregs.cs.base;
}

/* The FPU has a bit for each register that is in use; gdb has two, of which 3 means that it is not. */
static uint32_t tag_word(uint8_t used)
{
	uint32_t tags = 0;

	for (unsigned int i = 0; i < 8; i++)
		tags |= used >> i & 1 ? 0 : 3u << 2 * i;
	return tags;
}

static uint8_t used_of_tags(uint32_t tags)
{
	uint8_t used = 0;

	for (unsigned int i = 0; i < 8; i++)
		used |= (uint8_t)(((tags >> 2 * i & 3) != 3) << i);
	return used;
}

size_t gdb_register_get(const struct registers *r, unsigned int n, uint8_t value[GDB_REGISTER_BYTES])
{
	const struct gdb_place *p = &places[n < GDB_NR_REGISTERS ? n : 0];
	uint64_t rip;
	uint32_t tags;

	if (n >= GDB_NR_REGISTERS)
		return 0;
	memset(value, 0, GDB_REGISTER_BYTES);
	memcpy(value, (const char *)r + p->offset, p->bytes);
	if (n == RIP) {
		rip = r->regs.rip + code_base(r);
		memcpy(value, &rip, sizeof(rip));
	} else if (n == FTAG) {
		tags = tag_word(r->fpu.ftwx);
		memcpy(value, &tags, sizeof(tags));
	}
	return p->gdb_bytes;
}

int gdb_register_set(struct registers *r, unsigned int n, const uint8_t *value,
		     unsigned int *changed)
{
	const struct gdb_place *p = &places[n < GDB_NR_REGISTERS ? n : 0];
	uint8_t old[GDB_REGISTER_BYTES];
	uint32_t tags;

	if (n >= GDB_NR_REGISTERS)
		return -EINVAL;
	gdb_register_get(r, n, old);
	if (!memcmp(old, value, p->gdb_bytes))
		return 0;
	if (!p->changes)
		return -EINVAL;
	memcpy((char *)r + p->offset, value, p->bytes);
	if (n == RIP) {
		r->regs.rip -= code_base(r);
	} else if (n == FTAG) {
		memcpy(&tags, value, sizeof(tags));
		r->fpu.ftwx = used_of_tags(tags);
	}
	*changed |= p->changes;
	return 0;
}
