// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tar archives, block by block (disk/tar.h).
 *
 * A state machine: a block is a header, a part of what belongs to the next header (long names of GNU,
 * extended headers of pax: collected in a buffer and read when complete), a part of a list of
 * pieces of a sparse file, or data. What was said before a header replaces what is in it.
 *
 * Each number is checked where it is read: that it is one, and that it fits. A list of pieces is checked
 * when it is complete. Not understood, and so refused: archives in several volumes. Not read: attributes in
 * headers for all of an archive, ACLs in text form, names of users and groups.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "disk/tar.h"
#include "util.h"

#define NO_ID	   65534u /* as Linux shows those that it cannot */
#define S_FIRST	   4u	  /* pieces in a header of GNU's old form, */
#define S_MORE	   21u	  /* and in a block that continues it */
#define DIGITS_MAX 20u

/* What was said for an entry, or for all, before its header. */
enum {
	SAID_PATH = 1,
	SAID_LINK = 2,
	SAID_SIZE = 4,
	SAID_MTIME = 8,
	SAID_UID = 16,
	SAID_GID = 32,
	SAID_SPARSE_NAME = 64,
};

struct said {
	unsigned int what;
	uint64_t size_bytes;
	int64_t mtime_s;
	uint32_t mtime_ns, uid, gid;
	char path[TAR_NAME_MAX + 1], link[TAR_NAME_MAX + 1];
};

/* Of an entry: what pax says of its holes. */
struct sparse {
	bool is_any, has_offset;
	uint64_t major, minor, real_bytes, offset;
};

enum tar_state {
	IN_HEADER,
	IN_TEXT,
	IN_OLD_MAP,
	IN_MAP,
	IN_DATA,
	AT_END,
	IS_BAD,
};

struct tar {
	enum tar_state state;
	const char *why; /* of IS_BAD */
	uint64_t offset;
	uint64_t nr_entries;
	bool is_said_over; /* the entry is complete: the next header has nothing of it */
	struct said own, global;
	struct sparse sparse;
	struct tar_entry entry;
	uint64_t data_left;
	char name[TAR_NAME_MAX + 1]; /* of the header itself */
	char link[TAR_NAME_MAX + 1];

	char text_type; /* 'L', 'K', 'x', 'g' */
	uint8_t *text;
	size_t text_bytes, text_left, text_room;

	struct tar_piece *pieces;
	uint32_t nr_pieces, pieces_room;
	uint64_t map_numbers, map_number; /* IN_MAP: still to come; the one that is being read */
	unsigned int map_digits;
	bool map_has_count;

	uint8_t *xattrs;
	size_t xattrs_bytes;
};

/* POSIX pax "ustar Header Block"; what GNU has at the end instead of the prefix. */
struct tar_header {
	uint8_t name[100], mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8];
	uint8_t type, link[100], magic[8], user[32], group[32], major[8], minor[8];
	union {
		uint8_t prefix[155];
		struct {
			uint8_t times[24], where[12], names[4], unused;
			uint8_t pieces[S_FIRST][24], is_continued, real_bytes[12];
		} gnu;
	};
	uint8_t padding[12];
};

_Static_assert(sizeof(struct tar_header) == TAR_BLOCK_BYTES, "one block");

int tar_create(struct tar **out)
{
	*out = calloc(1, sizeof(**out));
	return *out ? 0 : -ENOMEM;
}

void tar_destroy(struct tar *t)
{
	if (!t)
		return;
	free(t->text);
	free(t->pieces);
	free(t->xattrs);
	free(t);
}

static enum tar_step tar_refuse(struct tar *t, const char *why)
{
	t->state = IS_BAD;
	t->why = why;
	return TAR_BAD;
}

/* ---- numbers ---- */

/* GNU's: the first bit is set, then big-endian, with a sign. */
static bool tar_read_binary(const uint8_t *field, size_t bytes, int64_t *value)
{
	int64_t v = field[0] & 0x40 ? (int64_t)field[0] - 0x100 : field[0] & 0x3f;

	for (size_t i = 1; i < bytes; i++) {
		if (v > INT64_MAX >> 8 || v < INT64_MIN / 256)
			return false;
		v = v * 256 + field[i];
	}
	*value = v;
	return true;
}

/* Octal between spaces, up to a space, a zero or the field's end; nothing is 0. Fields have 12 bytes at most. */
static bool tar_read_field(const uint8_t *field, size_t bytes, int64_t *value)
{
	size_t i = 0;

	*value = 0;
	if (field[0] & 0x80)
		return tar_read_binary(field, bytes, value);
	while (i < bytes && field[i] == ' ')
		i++;
	for (; i < bytes && field[i] >= '0' && field[i] <= '7'; i++)
		*value = *value * 8 + (field[i] - '0');
	return i == bytes || field[i] == ' ' || !field[i];
}

static bool tar_read_size(const uint8_t *field, size_t bytes, uint64_t *size)
{
	int64_t v;

	if (!tar_read_field(field, bytes, &v) || v < 0)
		return false;
	*size = (uint64_t)v;
	return true;
}

static uint32_t tar_id(int64_t v)
{
	return v >= 0 && v <= UINT32_MAX ? (uint32_t)v : NO_ID;
}

static bool tar_read_decimal(const char *text, size_t bytes, uint64_t *value)
{
	*value = 0;
	for (size_t i = 0; i < bytes; i++) {
		if (text[i] < '0' || text[i] > '9' || !mul_u64(*value, 10, value) ||
		    !add_u64(*value, (uint64_t)(text[i] - '0'), value))
			return false;
	}
	return bytes && *value <= INT64_MAX;
}

/* Seconds with a sign and decimals, of which nine count. */
static bool tar_read_time(const char *text, size_t bytes, int64_t *s, uint32_t *ns)
{
	bool is_before = bytes && text[0] == '-';
	const char *digits = text + is_before, *dot;
	size_t left = bytes - is_before, whole;
	uint32_t unit = 100000000;
	uint64_t v;

	dot = memchr(digits, '.', left);
	whole = dot ? (size_t)(dot - digits) : left;
	if (!tar_read_decimal(digits, whole, &v) || v > INT64_MAX / 2)
		return false;
	*s = (int64_t)v;
	*ns = 0;
	for (size_t i = whole + 1; i < left; i++, unit /= 10) {
		if (digits[i] < '0' || digits[i] > '9')
			return false;
		*ns += (uint32_t)(digits[i] - '0') * unit;
	}
	if (is_before) {
		*s = -*s - (*ns ? 1 : 0);
		*ns = *ns ? 1000000000u - *ns : 0;
	}
	return true;
}

/* ---- pieces of sparse files ---- */

static const char *tar_add_piece(struct tar *t, uint64_t offset, uint64_t bytes)
{
	if (!bytes)
		return NULL; /* at the end of a file that ends in a hole */
	if (t->nr_pieces == t->pieces_room) {
		uint32_t room = t->pieces_room ? 2 * t->pieces_room : 16;
		struct tar_piece *more;

		if (room > TAR_PIECES_MAX)
			return "a sparse file in too many pieces";
		more = realloc(t->pieces, room * sizeof(*more));
		if (!more)
			return "no memory";
		t->pieces = more;
		t->pieces_room = room;
	}
	t->pieces[t->nr_pieces++] = (struct tar_piece){ offset, bytes };
	return NULL;
}

/* In order, apart, within the file, and all that is stored. */
static bool tar_pieces_are_good(const struct tar *t)
{
	uint64_t end = 0, sum = 0;

	for (uint32_t i = 0; i < t->nr_pieces; i++) {
		const struct tar_piece *p = &t->pieces[i];

		if (p->offset < end || !range_within(p->offset, p->bytes, t->entry.size_bytes))
			return false;
		end = p->offset + p->bytes;
		sum += p->bytes; /* at most the file's size */
	}
	return sum == t->entry.stored_bytes;
}

/* ---- what extended headers say ---- */

typedef const char *(*say_fn)(struct tar *t, struct said *s, const char *value, size_t bytes);

static const char *tar_say_name(char *name, const char *value, size_t bytes)
{
	if (bytes > TAR_NAME_MAX)
		return "a name longer than 4096 bytes";
	if (memchr(value, '\0', bytes))
		return "a name with a zero byte";
	memcpy(name, value, bytes);
	name[bytes] = '\0';
	return NULL;
}

/* An empty value takes back what was said for all. */
static void tar_note_said(struct said *s, unsigned int what, size_t bytes)
{
	s->what = bytes ? s->what | what : s->what & ~what;
}

static const char *say_path(struct tar *t, struct said *s, const char *value, size_t bytes)
{
	(void)t;
	if (s->what & SAID_SPARSE_NAME)
		return NULL;
	tar_note_said(s, SAID_PATH, bytes);
	return tar_say_name(s->path, value, bytes);
}

static const char *say_link(struct tar *t, struct said *s, const char *value, size_t bytes)
{
	(void)t;
	tar_note_said(s, SAID_LINK, bytes);
	return tar_say_name(s->link, value, bytes);
}

static const char *say_size(struct tar *t, struct said *s, const char *value, size_t bytes)
{
	(void)t;
	tar_note_said(s, SAID_SIZE, bytes);
	return !bytes || tar_read_decimal(value, bytes, &s->size_bytes) ? NULL : "a size that is no number";
}

static const char *say_mtime(struct tar *t, struct said *s, const char *value, size_t bytes)
{
	(void)t;
	tar_note_said(s, SAID_MTIME, bytes);
	return !bytes || tar_read_time(value, bytes, &s->mtime_s, &s->mtime_ns) ? NULL : "a time that is none";
}

static const char *tar_say_id(struct said *s, unsigned int what, uint32_t *id, const char *value,
			      size_t bytes)
{
	uint64_t v;

	tar_note_said(s, what, bytes);
	if (!bytes)
		return NULL;
	if (value[0] == '-')
		v = UINT64_MAX;
	else if (!tar_read_decimal(value, bytes, &v))
		return "an owner that is no number";
	*id = tar_id((int64_t)v);
	return NULL;
}

static const char *say_uid(struct tar *t, struct said *s, const char *value, size_t bytes)
{
	(void)t;
	return tar_say_id(s, SAID_UID, &s->uid, value, bytes);
}

static const char *say_gid(struct tar *t, struct said *s, const char *value, size_t bytes)
{
	(void)t;
	return tar_say_id(s, SAID_GID, &s->gid, value, bytes);
}

/* GNU tar, "Storing Sparse Files": three forms, 0.0, 0.1 and 1.0. */
static const char *tar_say_sparse(struct tar *t, uint64_t *number, const char *value, size_t bytes)
{
	t->sparse.is_any = true;
	return tar_read_decimal(value, bytes, number) ? NULL : "a sparse file's number that is none";
}

static const char *say_sparse_major(struct tar *t, struct said *s, const char *value, size_t bytes)
{
	(void)s;
	return tar_say_sparse(t, &t->sparse.major, value, bytes);
}

static const char *say_sparse_minor(struct tar *t, struct said *s, const char *value, size_t bytes)
{
	(void)s;
	return tar_say_sparse(t, &t->sparse.minor, value, bytes);
}

static const char *say_sparse_size(struct tar *t, struct said *s, const char *value, size_t bytes)
{
	(void)s;
	return tar_say_sparse(t, &t->sparse.real_bytes, value, bytes);
}

static const char *say_sparse_name(struct tar *t, struct said *s, const char *value, size_t bytes)
{
	t->sparse.is_any = true;
	s->what |= SAID_SPARSE_NAME | SAID_PATH;
	return bytes ? tar_say_name(s->path, value, bytes) : "an empty name";
}

static const char *say_sparse_offset(struct tar *t, struct said *s, const char *value, size_t bytes)
{
	(void)s;
	t->sparse.has_offset = true;
	return tar_say_sparse(t, &t->sparse.offset, value, bytes);
}

static const char *say_sparse_bytes(struct tar *t, struct said *s, const char *value, size_t bytes)
{
	uint64_t n;
	const char *why = tar_say_sparse(t, &n, value, bytes);

	(void)s;
	if (why || !t->sparse.has_offset)
		return why ? why : "a piece of a sparse file without an offset";
	t->sparse.has_offset = false;
	return tar_add_piece(t, t->sparse.offset, n);
}

/* "OFFSET,BYTES,OFFSET,BYTES..." */
static const char *say_sparse_map(struct tar *t, struct said *s, const char *value, size_t bytes)
{
	const char *at = value, *end = value + bytes;
	uint64_t pair[2];

	(void)s;
	t->sparse.is_any = true;
	for (unsigned int i = 0; at < end; i ^= 1) {
		const char *comma = memchr(at, ',', (size_t)(end - at));
		const char *stop = comma ? comma : end, *why;

		if (!tar_read_decimal(at, (size_t)(stop - at), &pair[i]))
			return "a list of pieces that is none";
		why = i ? tar_add_piece(t, pair[0], pair[1]) : NULL;
		if (why || (!i && !comma))
			return why ? why : "a list of pieces that is none";
		at = comma ? comma + 1 : end;
	}
	return NULL;
}

#define XATTR_PREFIX "SCHILY.xattr."

/* As tar_next_xattr() reads it: the name, a zero, the size, the value. */
static const char *tar_say_xattr(struct tar *t, const char *name, size_t name_bytes,
				 const char *value, size_t bytes)
{
	uint32_t value_bytes = (uint32_t)bytes; /* below TAR_PAX_MAX */
	size_t all = name_bytes + 1 + sizeof(value_bytes) + bytes;
	uint8_t *at;

	if (!name_bytes || memchr(name, '\0', name_bytes))
		return "an attribute without a name";
	if (!t->xattrs)
		t->xattrs = malloc(TAR_XATTRS_MAX);
	if (!t->xattrs)
		return "no memory";
	if (!range_within(t->xattrs_bytes, all, TAR_XATTRS_MAX))
		return "more than 64 KiB of attributes";
	at = t->xattrs + t->xattrs_bytes;
	memcpy(at, name, name_bytes);
	at[name_bytes] = '\0';
	memcpy(at + name_bytes + 1, &value_bytes, sizeof(value_bytes));
	memcpy(at + name_bytes + 1 + sizeof(value_bytes), value, bytes);
	t->xattrs_bytes += all;
	return NULL;
}

bool tar_next_xattr(const struct tar_entry *e, size_t *at, struct tar_xattr *x)
{
	const uint8_t *p;
	uint32_t value_bytes;
	size_t name_bytes;

	if (*at == e->xattrs_bytes)
		return false;
	p = e->xattrs + *at;
	name_bytes = strlen((const char *)p);
	memcpy(&value_bytes, p + name_bytes + 1, sizeof(value_bytes));
	x->name = (const char *)p;
	x->value = p + name_bytes + 1 + sizeof(value_bytes);
	x->value_bytes = value_bytes;
	*at += name_bytes + 1 + sizeof(value_bytes) + value_bytes;
	return true;
}

static const struct {
	const char *key;
	say_fn say;
	bool is_of_one; /* not for all of an archive */
} keys[] = {
	{ "path", say_path, false },
	{ "linkpath", say_link, false },
	{ "size", say_size, false },
	{ "mtime", say_mtime, false },
	{ "uid", say_uid, false },
	{ "gid", say_gid, false },
	{ "GNU.sparse.major", say_sparse_major, true },
	{ "GNU.sparse.minor", say_sparse_minor, true },
	{ "GNU.sparse.name", say_sparse_name, true },
	{ "GNU.sparse.size", say_sparse_size, true },
	{ "GNU.sparse.realsize", say_sparse_size, true },
	{ "GNU.sparse.offset", say_sparse_offset, true },
	{ "GNU.sparse.numbytes", say_sparse_bytes, true },
	{ "GNU.sparse.map", say_sparse_map, true },
};

static const char *tar_say(struct tar *t, bool is_global, const char *key, size_t key_bytes,
			   const char *value, size_t bytes)
{
	const size_t prefix = strlen(XATTR_PREFIX);

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (strlen(keys[i].key) == key_bytes && !memcmp(keys[i].key, key, key_bytes))
			return is_global && keys[i].is_of_one ?
				       NULL :
				       keys[i].say(t, is_global ? &t->global : &t->own, value, bytes);
	if (key_bytes > prefix && !memcmp(key, XATTR_PREFIX, prefix) && !is_global)
		return tar_say_xattr(t, key + prefix, key_bytes - prefix, value, bytes);
	return NULL; /* comments, times of access, names of users ... */
}

/* "LENGTH KEY=VALUE\n", where the length is that of all of it. */
static const char *tar_read_records(struct tar *t, bool is_global)
{
	const char *at = (const char *)t->text;
	size_t left = t->text_bytes;

	while (left) {
		const char *space = memchr(at, ' ', min_u64(left, DIGITS_MAX)), *is, *key, *why;
		uint64_t all;
		size_t key_bytes;

		if (!space || !tar_read_decimal(at, (size_t)(space - at), &all) || all > left ||
		    all < (size_t)(space - at) + 2 || at[all - 1] != '\n')
			return "an extended header that is damaged";
		key = space + 1;
		is = memchr(key, '=', all - 1 - (size_t)(key - at));
		if (!is)
			return "an extended header that is damaged";
		key_bytes = (size_t)(is - key);
		why = tar_say(t, is_global, key, key_bytes, is + 1, all - 2 - key_bytes - (size_t)(key - at));
		if (why)
			return why;
		at += all;
		left -= all;
	}
	return NULL;
}

/* ---- what comes before a header ---- */

static enum tar_step tar_begin_text(struct tar *t, char type, uint64_t bytes)
{
	if (bytes > TAR_PAX_MAX)
		return tar_refuse(t, "an extended header larger than 2 MiB");
	if (bytes > t->text_room) {
		uint8_t *more = realloc(t->text, bytes);

		if (!more)
			return tar_refuse(t, "no memory");
		t->text = more;
		t->text_room = bytes;
	}
	t->text_type = type;
	t->text_bytes = 0;
	t->text_left = bytes;
	t->state = bytes ? IN_TEXT : IN_HEADER;
	return TAR_MORE;
}

static enum tar_step tar_end_text(struct tar *t)
{
	const char *text = (const char *)t->text, *why;
	size_t bytes;

	switch (t->text_type) {
	case 'L':
	case 'K':
		bytes = strnlen(text, t->text_bytes);
		why = t->text_type == 'L' ? say_path(t, &t->own, text, bytes) :
					    say_link(t, &t->own, text, bytes);
		break;
	default:
		why = tar_read_records(t, t->text_type == 'g');
	}
	if (why)
		return tar_refuse(t, why);
	t->state = IN_HEADER;
	return TAR_MORE;
}

static enum tar_step tar_add_text(struct tar *t, const uint8_t *block)
{
	size_t n = min_u64(t->text_left, TAR_BLOCK_BYTES);

	memcpy(t->text + t->text_bytes, block, n);
	t->text_bytes += n;
	t->text_left -= n;
	return t->text_left ? TAR_MORE : tar_end_text(t);
}

/* ---- entries ---- */

static void tar_forget(struct tar *t)
{
	t->own.what = 0;
	memset(&t->sparse, 0, sizeof(t->sparse));
	t->nr_pieces = 0;
	t->xattrs_bytes = 0;
	t->is_said_over = false;
}

/* Everything about the entry is known; its data follow. */
static enum tar_step tar_give(struct tar *t)
{
	struct tar_entry *e = &t->entry;
	uint64_t end;

	if (!add_u64(t->offset, e->stored_bytes, &end) || end > INT64_MAX - TAR_BLOCK_BYTES)
		return tar_refuse(t, "a file that is too large");
	e->pieces = t->pieces;
	e->nr_pieces = t->nr_pieces;
	e->xattrs = t->xattrs;
	e->xattrs_bytes = t->xattrs_bytes;
	e->data_offset = t->offset;
	if (e->is_sparse && !tar_pieces_are_good(t))
		return tar_refuse(t, "a sparse file whose pieces do not fit");
	if (!e->is_sparse)
		e->size_bytes = e->stored_bytes;
	t->data_left = e->stored_bytes;
	t->state = t->data_left ? IN_DATA : IN_HEADER;
	t->is_said_over = true;
	t->nr_entries++;
	return TAR_ENTRY;
}

/* Old GNU: pieces in the header, and in blocks behind it. An empty one is the last. */
static const char *tar_read_old_pieces(struct tar *t, const uint8_t (*pieces)[24], unsigned int nr)
{
	for (unsigned int i = 0; i < nr && pieces[i][12]; i++) {
		uint64_t offset, bytes;
		const char *why;

		if (!tar_read_size(pieces[i], 12, &offset) || !tar_read_size(pieces[i] + 12, 12, &bytes))
			return "a sparse file's number that is none";
		why = tar_add_piece(t, offset, bytes);
		if (why)
			return why;
	}
	return NULL;
}

static enum tar_step tar_begin_old_sparse(struct tar *t, const struct tar_header *h)
{
	const char *why = NULL;

	t->entry.is_sparse = true;
	if (!tar_read_size(h->gnu.real_bytes, sizeof(h->gnu.real_bytes), &t->entry.size_bytes))
		why = "a size that is no number";
	if (!why)
		why = tar_read_old_pieces(t, h->gnu.pieces, S_FIRST);
	if (why)
		return tar_refuse(t, why);
	if (!h->gnu.is_continued)
		return tar_give(t);
	t->state = IN_OLD_MAP;
	return TAR_MORE;
}

static enum tar_step tar_add_old_pieces(struct tar *t, const uint8_t *block)
{
	const char *why = tar_read_old_pieces(t, (const uint8_t(*)[24])(const void *)block, S_MORE);

	if (why)
		return tar_refuse(t, why);
	return block[(size_t)S_MORE * 24] ? TAR_MORE : tar_give(t);
}

/* Form 1.0: the list is at the start of the data: how many, then pairs, each in a line. */
static const char *tar_end_map_number(struct tar *t)
{
	uint64_t v = t->map_number;

	if (!t->map_digits)
		return "a list of pieces that is none";
	t->map_number = t->map_digits = 0;
	if (!t->map_has_count) {
		t->map_has_count = true;
		t->map_numbers = 2 * v;
		return v <= TAR_PIECES_MAX ? NULL : "a sparse file in too many pieces";
	}
	if (t->map_numbers-- % 2)
		return tar_add_piece(t, t->sparse.offset, v);
	t->sparse.offset = v;
	return NULL;
}

static enum tar_step tar_add_map(struct tar *t, const uint8_t *block)
{
	if (t->entry.stored_bytes < TAR_BLOCK_BYTES)
		return tar_refuse(t, "a list of pieces that does not end");
	t->entry.stored_bytes -= TAR_BLOCK_BYTES;
	for (unsigned int i = 0; i < TAR_BLOCK_BYTES; i++) {
		const char *why = NULL;

		if (block[i] == '\n')
			why = tar_end_map_number(t);
		else if (block[i] < '0' || block[i] > '9' || ++t->map_digits > DIGITS_MAX ||
			 !mul_u64(t->map_number, 10, &t->map_number) ||
			 !add_u64(t->map_number, block[i] - '0', &t->map_number))
			why = "a list of pieces that is none";
		if (why)
			return tar_refuse(t, why);
		if (t->map_has_count && !t->map_numbers)
			return tar_give(t);
	}
	return TAR_MORE;
}

static enum tar_step tar_begin_file(struct tar *t)
{
	const struct sparse *s = &t->sparse;
	struct tar_entry *e = &t->entry;

	if (!s->is_any)
		return tar_give(t);
	if (s->major > 1 || s->minor > (s->major ? 0 : 1))
		return tar_refuse(t, "a sparse file of an unknown form");
	e->is_sparse = true;
	e->size_bytes = s->real_bytes;
	if (!s->major)
		return tar_give(t);
	t->nr_pieces = 0;
	t->map_has_count = false;
	t->map_numbers = t->map_number = t->map_digits = 0;
	t->state = IN_MAP;
	return TAR_MORE;
}

/* ---- headers ---- */

/* The sum of all bytes, with spaces for the sum itself; some writers took bytes for signed. */
static bool tar_sum_is_good(const struct tar_header *h)
{
	const uint8_t *b = (const uint8_t *)h;
	const size_t from = offsetof(struct tar_header, checksum), to = from + sizeof(h->checksum);
	int64_t said, sum = 0, signed_sum = 0;

	for (size_t i = 0; i < TAR_BLOCK_BYTES; i++) {
		uint8_t byte = i >= from && i < to ? ' ' : b[i];

		sum += byte;
		signed_sum += (int8_t)byte;
	}
	return tar_read_field(h->checksum, sizeof(h->checksum), &said) &&
	       (said == sum || said == signed_sum);
}

static bool tar_is_zero(const uint8_t *block)
{
	for (size_t i = 0; i < TAR_BLOCK_BYTES; i++)
		if (block[i])
			return false;
	return true;
}

static size_t tar_copy(char *out, const uint8_t *field, size_t room)
{
	size_t n = strnlen((const char *)field, room);

	memcpy(out, field, n);
	out[n] = '\0';
	return n;
}

static void tar_read_names(struct tar *t, const struct tar_header *h)
{
	bool is_posix = !memcmp(h->magic, "ustar", 6);
	size_t n = 0;

	if (is_posix && h->prefix[0]) {
		n = tar_copy(t->name, h->prefix, sizeof(h->prefix));
		t->name[n++] = '/';
	}
	tar_copy(t->name + n, h->name, sizeof(h->name));
	tar_copy(t->link, h->link, sizeof(h->link));
}

static enum tar_type tar_type_of(const struct tar *t, uint8_t type)
{
	const char *path = t->entry.path;

	switch (type) {
	case '\0':
	case '0':
		/* Before there was a type for them. */
		return path[0] && path[strlen(path) - 1] == '/' ? TAR_DIR : TAR_FILE;
	case '7':
	case 'S':
		return TAR_FILE;
	case '1':
		return TAR_HARD_LINK;
	case '2':
		return TAR_SYMLINK;
	case '3':
		return TAR_CHAR_DEVICE;
	case '4':
		return TAR_BLOCK_DEVICE;
	case '5':
	case 'D': /* GNU's, with a list of names as its data */
		return TAR_DIR;
	case '6':
		return TAR_FIFO;
	default:
		return TAR_UNKNOWN;
	}
}

/* What was said of the entry comes first, then what was said for all, then the header. */
static const struct said *tar_who_said(const struct tar *t, unsigned int what)
{
	if (t->own.what & what)
		return &t->own;
	return t->global.what & what ? &t->global : NULL;
}

static bool tar_read_numbers(struct tar *t, const struct tar_header *h)
{
	struct tar_entry *e = &t->entry;
	const struct said *s;
	int64_t mode, uid, gid;

	if (!tar_read_field(h->mode, sizeof(h->mode), &mode) ||
	    !tar_read_field(h->uid, sizeof(h->uid), &uid) ||
	    !tar_read_field(h->gid, sizeof(h->gid), &gid) ||
	    !tar_read_field(h->mtime, sizeof(h->mtime), &e->mtime_s) ||
	    !tar_read_size(h->size, sizeof(h->size), &e->stored_bytes))
		return false;
	e->mode = (uint32_t)mode & 07777;
	s = tar_who_said(t, SAID_UID);
	e->uid = s ? s->uid : tar_id(uid);
	s = tar_who_said(t, SAID_GID);
	e->gid = s ? s->gid : tar_id(gid);
	s = tar_who_said(t, SAID_SIZE);
	if (s)
		e->stored_bytes = s->size_bytes;
	s = tar_who_said(t, SAID_MTIME);
	if (s) {
		e->mtime_s = s->mtime_s;
		e->mtime_ns = s->mtime_ns;
	}
	return true;
}

static bool tar_read_device(struct tar_entry *e, const struct tar_header *h)
{
	int64_t major, minor;

	if (!tar_read_field(h->major, sizeof(h->major), &major) ||
	    !tar_read_field(h->minor, sizeof(h->minor), &minor))
		return false;
	e->major = (uint32_t)major;
	e->minor = (uint32_t)minor;
	return true;
}

/* Whether data can follow; of other kinds some writers give the size of what they are or point to. */
static bool tar_has_data(enum tar_type type, uint8_t letter)
{
	return type == TAR_FILE || type == TAR_UNKNOWN || letter == 'D';
}

static enum tar_step tar_begin_entry(struct tar *t, const struct tar_header *h)
{
	struct tar_entry *e = &t->entry;
	const struct said *path = tar_who_said(t, SAID_PATH), *link = tar_who_said(t, SAID_LINK);

	memset(e, 0, sizeof(*e));
	tar_read_names(t, h);
	e->path = path ? path->path : t->name;
	e->link = link ? link->link : t->link;
	e->type = tar_type_of(t, h->type);
	if (!e->path[0])
		return tar_refuse(t, "an entry without a name");
	if (!tar_read_numbers(t, h))
		return tar_refuse(t, "a header with a number that is none");
	if (!tar_has_data(e->type, h->type))
		e->stored_bytes = 0;
	if (e->type != TAR_HARD_LINK && e->type != TAR_SYMLINK)
		e->link = "";
	else if (!e->link[0])
		return tar_refuse(t, "a link to nothing");
	if ((e->type == TAR_CHAR_DEVICE || e->type == TAR_BLOCK_DEVICE) && !tar_read_device(e, h))
		return tar_refuse(t, "a device whose number is none");
	if (h->type == 'S')
		return tar_begin_old_sparse(t, h);
	return e->type == TAR_FILE ? tar_begin_file(t) : tar_give(t);
}

static enum tar_step tar_read_header(struct tar *t, const struct tar_header *h)
{
	uint64_t bytes;

	if (t->is_said_over)
		tar_forget(t);
	if (tar_is_zero((const uint8_t *)h)) {
		t->state = AT_END;
		return TAR_END;
	}
	if (!tar_sum_is_good(h))
		return tar_refuse(t, t->nr_entries ? "a header with a wrong checksum" :
						     "its first block has no checksum of a header");
	switch (h->type) {
	case 'L':
	case 'K':
	case 'x':
	case 'X':
	case 'g':
		if (!tar_read_size(h->size, sizeof(h->size), &bytes))
			return tar_refuse(t, "a header with a number that is none");
		return tar_begin_text(t, (char)h->type, bytes);
	case 'M':
		return tar_refuse(t, "one of several volumes");
	default:
		return tar_begin_entry(t, h);
	}
}

/* ---- */

void tar_begin_at(struct tar *t, uint64_t offset)
{
	t->offset = offset;
}

enum tar_step tar_feed(struct tar *t, const void *block)
{
	if (t->state == AT_END)
		return TAR_END;
	if (t->state == IS_BAD)
		return TAR_BAD;
	if (t->state == IN_DATA) {
		tar_skip(t, 1);
		return TAR_DATA;
	}
	t->offset += TAR_BLOCK_BYTES;
	switch (t->state) {
	case IN_TEXT:
		return tar_add_text(t, block);
	case IN_OLD_MAP:
		return tar_add_old_pieces(t, block);
	case IN_MAP:
		return tar_add_map(t, block);
	default:
		return tar_read_header(t, block);
	}
}

uint64_t tar_data_left(const struct tar *t)
{
	return t->state == IN_DATA ? t->data_left : 0;
}

void tar_skip(struct tar *t, uint64_t blocks)
{
	uint64_t bytes = blocks * TAR_BLOCK_BYTES;

	assert(blocks <= (tar_data_left(t) + TAR_BLOCK_BYTES - 1) / TAR_BLOCK_BYTES);
	t->offset += bytes;
	t->data_left -= min_u64(bytes, t->data_left);
	if (!t->data_left && t->state == IN_DATA)
		t->state = IN_HEADER;
}

const struct tar_entry *tar_entry(const struct tar *t)
{
	return &t->entry;
}

const char *tar_error(const struct tar *t)
{
	return t->why;
}

uint64_t tar_offset(const struct tar *t)
{
	return t->offset;
}

const char *tar_cannot_end(const struct tar *t)
{
	if (t->state == IS_BAD)
		return t->why;
	if (t->state == AT_END)
		return NULL;
	if (!t->offset)
		return "it is empty";
	return t->state == IN_HEADER && t->is_said_over ? NULL : "it ends in the middle of an entry";
}

const char *tar_unpacker(const void *block)
{
	static const struct {
		const char *magic;
		size_t bytes;
		const char *program;
	} known[] = {
		{ "\x1f\x8b", 2, "gzip" },
		{ "\x28\xb5\x2f\xfd", 4, "zstd" },
		{ "\3757zXZ", 6, "xz" },
		{ "BZh", 3, "bzip2" },
		{ "\x04\x22\x4d\x18", 4, "lz4" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (!memcmp(block, known[i].magic, known[i].bytes))
			return known[i].program;
	return NULL;
}
