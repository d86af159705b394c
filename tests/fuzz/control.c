// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a VM and its clients say to each other: one object of JSON. What is read is UTF-8 that ends, in
 * members that have different names; written again as JSON, it reads the same.
 */
#include "tests/fuzz/fuzz.h"

#include "control/json.h"
#include "util.h"

static void write_again(const struct json_object *o, char **text, size_t *bytes)
{
	FILE *f = open_memstream(text, bytes);

	must(f);
	fputc('{', f);
	for (unsigned int i = 0; i < o->nr; i++) {
		const struct json_member *m = &o->members[i];

		fputs(i ? "," : "", f);
		json_string(f, m->name);
		fputc(':', f);
		if (m->type == JSON_STRING)
			json_string(f, m->text);
		else if (m->type == JSON_COUNT)
			fprintf(f, "%llu", (unsigned long long)m->number);
		else
			fputs(m->type == JSON_TRUE  ? "true" :
			      m->type == JSON_FALSE ? "false" :
			      m->type == JSON_NULL  ? "null" :
						      "-1",
			      f);
	}
	fputc('}', f);
	must(!fclose(f));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct json_object o, again;
	char *text = malloc(bytes ? bytes : 1), *second = NULL;
	size_t second_bytes = 0;

	must(text);
	memcpy(text, data, bytes);
	if (!json_parse(&o, text, bytes)) {
		write_again(&o, &second, &second_bytes);
		must(!json_parse(&again, second, second_bytes) && again.nr == o.nr);
		for (unsigned int i = 0; i < o.nr; i++) {
			must(!strcmp(o.members[i].name, again.members[i].name));
			must(o.members[i].type == again.members[i].type);
			must(o.members[i].number == again.members[i].number);
			if (o.members[i].type == JSON_STRING)
				must(!strcmp(o.members[i].text, again.members[i].text));
			for (unsigned int k = 0; k < i; k++)
				must(strcmp(o.members[i].name, o.members[k].name) != 0);
		}
	}
	free(text);
	free(second);
	return 0;
}
